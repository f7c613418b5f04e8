package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"

	"busd/bus"
	"busd/daemon/internal/config"
	"busd/schema"
)

// The exit codes. Numbers are never changed.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitConfig      = 3
	exitNetwork     = 4
	exitAuth        = 5
	exitNotAllowed  = 6
	exitNotFound    = 7
	exitConflict    = 8
	exitTimeout     = 9
	exitSchema      = 10
	exitBug         = 70
	exitInterrupted = 130
)

// exits is the table that "busd help exit-codes" prints.
var exits = []struct {
	code    int
	meaning string
}{
	{exitOK, "it worked"},
	{exitFailed, "the check that was asked for failed, or the service refused or failed"},
	{exitUsage, "wrong usage: an unknown command or flag, or an argument that makes no sense"},
	{exitConfig, "the configuration, or a file that it names, cannot be used"},
	{exitNetwork, "cannot connect: the network, or nobody listens"},
	{exitAuth, "not authenticated: TLS, a certificate, a key or a token"},
	{exitNotAllowed, "not allowed"},
	{exitNotFound, "not found: a file that you named, a service, a message or a method"},
	{exitConflict, "conflict: it exists already, or is in use"},
	{exitTimeout, "it took too long"},
	{exitSchema, "a message or a call breaks the contract, or the contracts do not fit"},
	{exitBug, "a fault in busd itself, or in a program that is built with it"},
	{exitInterrupted, "interrupted"},
}

// errInterrupted is the cause of a context that a signal ended.
var errInterrupted = errors.New("interrupted")

// codeExits says how a program ends when an error of that code ended its work.
// What is not here is exitFailed.
var codeExits = map[bus.Code]int{
	bus.CodeInvalidArgument:    exitUsage,
	bus.CodeUnavailable:        exitNetwork,
	bus.CodeKeepaliveTimeout:   exitNetwork,
	bus.CodeSessionLost:        exitNetwork,
	bus.CodeUnauthenticated:    exitAuth,
	bus.CodeCertificateExpired: exitAuth,
	bus.CodeCertificateRevoked: exitAuth,
	bus.CodePermissionDenied:   exitNotAllowed,
	bus.CodeNotFound:           exitNotFound,
	bus.CodeAlreadyExists:      exitConflict,
	bus.CodeSuperseded:         exitConflict,
	bus.CodeDeadlineExceeded:   exitTimeout,
	bus.CodeInvalidMessage:     exitSchema,
	bus.CodeSchemaMismatch:     exitSchema,
}

// exitOf returns the exit code that err means.
func exitOf(err error) int {
	var f *fault
	var e *bus.Error
	var value *schema.ValueError
	var invalid *config.Error
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &f) && f.exit != 0:
		return f.exit
	case errors.Is(err, errInterrupted), errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &value):
		return exitSchema
	case errors.As(err, &invalid):
		if slices.ContainsFunc(invalid.Faults, saidByFlag) {
			return exitUsage
		}
		return exitConfig
	case errors.As(err, &e):
		if exit, ok := codeExits[e.Code]; ok {
			return exit
		}
		return exitFailed
	case errors.Is(err, fs.ErrNotExist):
		return exitNotFound
	case errors.Is(err, fs.ErrPermission):
		return exitNotAllowed
	case errors.Is(err, fs.ErrExist), errors.Is(err, syscall.EADDRINUSE):
		return exitConflict
	case errors.Is(err, context.DeadlineExceeded):
		return exitTimeout
	}
	return exitFailed
}

// saidByFlag tells whether what is wrong stands on the command line.
func saidByFlag(f *config.Fault) bool { return strings.HasPrefix(f.Where, "--") }

// exitTable is the text of "busd help exit-codes".
func exitTable() string {
	var b strings.Builder
	b.WriteString("How busd ends:\n\n")
	for _, row := range exits {
		fmt.Fprintf(&b, "  %3d  %s\n", row.code, row.meaning)
	}
	return b.String()
}
