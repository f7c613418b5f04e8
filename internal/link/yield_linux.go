package link

import "syscall"

// canYield tells whether there is anything to give way with.
const canYield = true

// yield lets other threads have the processor (sched_yield(2)), if any wants it.
func yield() { _, _, _ = syscall.Syscall(syscall.SYS_SCHED_YIELD, 0, 0, 0) }
