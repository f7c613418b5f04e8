//go:build linux

package netns

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// ofThread is the network namespace of the thread that opens it.
const ofThread = "/proc/thread-self/ns/net"

// A namespace is a network namespace without a name.
type namespace struct{ file *os.File }

// newNamespace makes one in which nothing is up.
func newNamespace() (*namespace, error) {
	var n namespace
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return os.NewSyscallError("unshare", err)
		}
		var err error
		n.file, err = os.Open(ofThread)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &n, nil
}

// path names the namespace to this process and those that it starts.
func (n *namespace) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.file.Fd()) }

// do runs f on a thread that is in the namespace: sockets that it makes are
// there, and processes that it starts. f must not start goroutines for that, nor
// end its own.
func (n *namespace) do(f func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return os.NewSyscallError("setns", err)
		}
		return f()
	})
}

func (n *namespace) close() error { return n.file.Close() }

// onThread runs f on a thread of its own, which then returns to the namespace
// where it was. If it cannot, it ends: nobody else shall run in another
// namespace without knowing.
func onThread(f func() error) error {
	result := make(chan error)
	go func() { // ends with f
		runtime.LockOSThread()
		home, err := os.Open(ofThread)
		if err != nil {
			runtime.UnlockOSThread()
			result <- err
			return
		}
		defer home.Close()
		err = f()
		back := os.NewSyscallError("setns", unix.Setns(int(home.Fd()), unix.CLONE_NEWNET))
		if back == nil {
			runtime.UnlockOSThread()
		}
		result <- errors.Join(err, back)
	}()
	return <-result
}
