// The behaviours of an SSH client, by golang.org/x/crypto/ssh. Prints one line of JSON for each.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
)

type result struct {
	Out, Err, Sha256 string
	Size, Status     int
}

func connect() *ssh.Client {
	known, _, _, _, err := ssh.ParseAuthorizedKey([]byte(os.Getenv("SSH_HOST_KEY")))
	must(err)
	var login ssh.AuthMethod
	if token := os.Getenv("SSH_TOKEN"); token != "" {
		login = ssh.Password(token)
	} else {
		text, err := os.ReadFile(os.Getenv("SSH_KEY"))
		must(err)
		key, err := ssh.ParsePrivateKey(text)
		must(err)
		login = ssh.PublicKeys(key)
	}
	client, err := ssh.Dial("tcp", net.JoinHostPort("127.0.0.1", os.Getenv("SSH_PORT")), &ssh.ClientConfig{
		User: os.Getenv("SSH_USER"), Auth: []ssh.AuthMethod{login}, HostKeyCallback: ssh.FixedHostKey(known),
	})
	must(err)
	return client
}

func run(client *ssh.Client, line, stdin string) result {
	session, err := client.NewSession()
	must(err)
	defer session.Close()
	var out, complained bytes.Buffer
	session.Stdin, session.Stdout, session.Stderr = strings.NewReader(stdin), &out, &complained
	status := 0
	if err := session.Run(line); err != nil {
		var exit *ssh.ExitError
		if !errors.As(err, &exit) {
			must(err)
		}
		status = exit.ExitStatus()
	}
	shown := out.String()
	return result{shown[:min(len(shown), 200)], complained.String(), fmt.Sprintf("%x", sha256.Sum256(out.Bytes())), out.Len(), status}
}

func concurrent(client *ssh.Client) []string {
	said := make([]string, 20)
	var group sync.WaitGroup
	for i := range said {
		group.Go(func() { said[i] = run(client, fmt.Sprintf("echo %d", i), "").Out })
	}
	group.Wait()
	return said
}

func main() {
	client := connect()
	defer client.Close()
	print("exec", run(client, "printf out; printf err >&2; exit 3", ""))
	print("input", run(client, "cat", strings.Repeat("to and fro\n", 1000)))
	print("large", run(client, "printf '%01000000d' 7", ""))
	print("concurrent", concurrent(client))
}

func print(behaviour string, saw any) {
	line, err := json.Marshal(map[string]any{"behaviour": behaviour, "saw": saw})
	must(err)
	fmt.Println(string(line))
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
