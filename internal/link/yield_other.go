//go:build !linux

package link

import "runtime"

// yield lets other goroutines have the processor.
func yield() { runtime.Gosched() }
