package main

import (
	"fmt"
	"io"
	"net"
	"runtime"

	"golang.org/x/sys/unix"
)

// relay passes connections from an address in one network on to an address in another. A network is the path of a
// network namespace, for example /proc/42/ns/net.
//
// It prints the address that it listens on. Port 0 there is any free one, and in the second address the same as in the
// first.
func relay(arguments []string) {
	if len(arguments) != 4 {
		fail(usage)
	}
	// Both are opened before any thread moves: /proc/self is another network after that.
	from, to := open(arguments[0]), open(arguments[2])
	inside := network(to)
	var listener net.Listener
	network(from)(func() {
		var err error
		if listener, err = net.Listen("tcp4", arguments[1]); err != nil {
			fail(err)
		}
	})
	fmt.Println("listening on", listener.Addr())
	destination, err := net.ResolveTCPAddr("tcp4", arguments[3])
	if err != nil {
		fail(err)
	}
	if destination.Port == 0 {
		destination.Port = listener.Addr().(*net.TCPAddr).Port
	}
	for {
		client, err := listener.Accept()
		if err != nil {
			fail(err)
		}
		var server net.Conn
		inside(func() { server, err = net.DialTCP("tcp4", nil, destination) })
		if err != nil {
			// Who listens there may be away for a while, as an API server that restarts is.
			client.Close()
			continue
		}
		go pass(client, server)
		go pass(server, client)
	}
}

func pass(from, to net.Conn) {
	io.Copy(to, from)
	// The other direction may still have something to say.
	to.(*net.TCPConn).CloseWrite()
}

func open(path string) int {
	handle, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		fail("open", path, err)
	}
	return handle
}

// network gives a way to run something in a network namespace. A socket belongs to the network in which it was made,
// whoever uses it later; so one thread that moved there is enough.
func network(handle int) func(func()) {
	work := make(chan func())
	done := make(chan struct{})
	go func() {
		// Never unlocked: a thread that is elsewhere must not run other goroutines.
		runtime.LockOSThread()
		if err := unix.Setns(handle, unix.CLONE_NEWNET); err != nil {
			fail("enter a network", err)
		}
		for task := range work {
			task()
			done <- struct{}{}
		}
	}()
	return func(task func()) {
		work <- task
		<-done
	}
}
