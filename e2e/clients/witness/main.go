// check-note LOG-VKEY WITNESS-VKEY <NOTE: opens a checkpoint that a witness cosigned, with the Go implementations
// of signed notes and cosignatures, and prints origin and size.
package main

import (
	"fmt"
	"io"
	"os"

	"filippo.io/torchwood"
	formats "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	log, err := note.NewVerifier(os.Args[1])
	if err != nil {
		return err
	}
	witness, err := formats.NewVerifierForCosignatureV1(os.Args[2])
	if err != nil {
		return err
	}
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	opened, err := note.Open(text, note.VerifierList(log, witness))
	if err != nil {
		return err
	}
	if len(opened.Sigs) != 2 || len(opened.UnverifiedSigs) != 0 {
		return fmt.Errorf("%d signatures verify, %d are of others", len(opened.Sigs), len(opened.UnverifiedSigs))
	}
	checkpoint, err := torchwood.ParseCheckpoint(opened.Text)
	if err != nil {
		return err
	}
	fmt.Println(checkpoint.Origin, checkpoint.N)
	return nil
}
