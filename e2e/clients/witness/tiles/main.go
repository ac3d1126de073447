// check-tiles DIR LOG-VKEY: opens the checkpoint of a log in the form of C2SP tlog-tiles, reads every entry and checks
// its proof, with the Go implementation, and prints origin and size.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// directory reads tiles from files.
type directory string

func (d directory) ReadTiles(ctx context.Context, tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		data, err := d.ReadEndpoint(ctx, torchwood.TilePath(tile))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

func (d directory) SaveTiles([]tlog.Tile, [][]byte) {}

func (d directory) ReadEndpoint(_ context.Context, path string) ([]byte, error) {
	return os.ReadFile(filepath.Join(string(d), filepath.FromSlash(path)))
}

func run(from, key string) error {
	ctx, tiles := context.Background(), directory(from)
	log, err := note.NewVerifier(key)
	if err != nil {
		return err
	}
	text, err := tiles.ReadEndpoint(ctx, "checkpoint")
	if err != nil {
		return err
	}
	opened, err := note.Open(text, note.VerifierList(log))
	if err != nil {
		return err
	}
	checkpoint, err := torchwood.ParseCheckpoint(opened.Text)
	if err != nil {
		return err
	}
	client, err := torchwood.NewClient(tiles)
	if err != nil {
		return err
	}
	for index := range checkpoint.N {
		if _, _, err := client.Entry(ctx, checkpoint.Tree, index); err != nil {
			return err
		}
	}
	fmt.Println(checkpoint.Origin, checkpoint.N)
	return nil
}
