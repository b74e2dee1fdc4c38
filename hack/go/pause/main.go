// The process that holds a pod's namespaces on the nodes of the lab's cluster: it sleeps, collects orphans,
// and ends when it is told to.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for received := range signals {
		if received != syscall.SIGCHLD {
			return
		}
		for collected := 1; collected > 0; {
			collected, _ = syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		}
	}
}
