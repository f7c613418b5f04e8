package rpc_test

import (
	"syscall"
	"testing"

	"busd/bus"
	"busd/rpc"
)

// TestErrnos: the errno of a code leads back to it.
func TestErrnos(t *testing.T) {
	t.Parallel()
	for _, c := range bus.Codes() {
		errno := rpc.ErrnoOf(c)
		if errno != 0 && rpc.CodeOfErrno(errno) != c {
			t.Errorf("%s has errno %d, which is %s", c, errno, rpc.CodeOfErrno(errno))
		}
		if errno == 0 && c <= 16 && c != bus.CodeUnknown {
			t.Errorf("%s has no errno", c)
		}
	}
	for errno, want := range map[syscall.Errno]bus.Code{
		syscall.ENOENT: bus.CodeNotFound, syscall.EACCES: bus.CodePermissionDenied, syscall.EINVAL: bus.CodeInvalidArgument,
		syscall.ENOSYS: bus.CodeUnimplemented, syscall.ETIMEDOUT: bus.CodeDeadlineExceeded, syscall.EEXIST: bus.CodeAlreadyExists,
		syscall.EAGAIN: bus.CodeUnavailable, syscall.ECANCELED: bus.CodeCanceled, syscall.EIO: bus.CodeInternal,
		1111: bus.CodePermissionDenied, syscall.ENOTTY: bus.CodeUnknown, 0: bus.CodeUnknown, 9999: bus.CodeUnknown,
	} {
		if got := rpc.CodeOfErrno(int(errno)); got != want {
			t.Errorf("errno %d: got %s, want %s", errno, got, want)
		}
	}
}

// TestErrnoTexts: as S_ERROR composes them.
func TestErrnoTexts(t *testing.T) {
	t.Parallel()
	for errno, want := range map[int]string{
		0:    "x",
		1:    "Operation not permitted ( 1 : x)",
		2:    "No such file or directory ( 2 : x)",
		13:   "Permission denied ( 13 : x)",
		38:   "Function not implemented ( 38 : x)",
		41:   "Unknown error 41 ( 41 : x)",
		133:  "Memory page has hardware error ( 133 : x)",
		134:  "Unknown error 134 ( 134 : x)",
		1111: "Unauthorized query ( 1111 : x)",
		-1:   "Unknown error -1 ( -1 : x)",
	} {
		e := rpc.Errno(errno, "x")
		if e.Error() != want || e.Errno != errno {
			t.Errorf("got %d, %q, want %d, %q", e.Errno, e, errno, want)
		}
		if got := rpc.ErrorOf(bus.Errorf(bus.CodeUnknown, "%s", e.Message)); got.Errno != errno {
			t.Errorf("%q: a client finds errno %d, want %d", e.Message, got.Errno, errno)
		}
	}
	for _, text := range []string{"about ( 2 : x)", "No such file or directory ( 2 : x", "No such file or directory ( x : 2)", " ( 2 : )"} {
		if got := rpc.ErrorOf(bus.Errorf(bus.CodeUnknown, "%s", text)); got.Errno != 0 {
			t.Errorf("%q: a client finds errno %d in it", text, got.Errno)
		}
	}
}
