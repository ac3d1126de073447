// Every program of a one-node Kubernetes in one file, chosen by the first argument.
//
// End-to-end tests start them, so that they meet a real API server, scheduler, controller manager, kubelet and
// kube-proxy on a machine that has no container engine.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	kubeproxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

const usage = `usage: node [tied] PROGRAM ARGUMENTS...

programs: etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy
          relay NETWORK ADDRESS NETWORK ADDRESS   connections to the first are passed on to the second
          init                                    the first process of a PID namespace

A program that is tied ends as soon as its standard input does, so that nothing
outlives who started it, however that ended.
`

func main() {
	arguments := os.Args[1:]
	tied := len(arguments) > 0 && arguments[0] == "tied"
	if tied {
		arguments = arguments[1:]
		go endWithInput()
	}
	if len(arguments) == 0 {
		fail(usage)
	}
	// Each program reads its own arguments from here.
	os.Args = arguments
	switch arguments[0] {
	case "etcd":
		etcdmain.Main(arguments)
	case "relay":
		relay(arguments[1:])
	case "init":
		reap()
	default:
		os.Exit(cli.Run(component(arguments[0])))
	}
}

func component(name string) *cobra.Command {
	switch name {
	case "kube-apiserver":
		return apiserver.NewAPIServerCommand()
	case "kube-controller-manager":
		return controllermanager.NewControllerManagerCommand()
	case "kube-scheduler":
		return scheduler.NewSchedulerCommand()
	case "kube-proxy":
		return kubeproxy.NewProxyCommand()
	case "kubelet":
		return kubelet.NewKubeletCommand(context.Background())
	}
	fail(usage)
	return nil
}

// The other end is held by who started this program, and by nobody else: it closes with that process.
func endWithInput() {
	io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

// What a first process is for: to take the exit status of orphans, which otherwise stay as zombies.
func reap() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	for range ended {
		for {
			pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
			if pid <= 0 && err != syscall.EINTR {
				break
			}
		}
	}
}

func fail(parts ...any) {
	fmt.Fprintln(os.Stderr, slices.Insert(parts, 0, any("node:"))...)
	os.Exit(2)
}
