package cli

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"busd/bus"
	"busd/daemon/internal/config"
)

func TestReport(t *testing.T) {
	t.Parallel()
	cause := &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	err := &fault{
		what: "cannot connect to wss://a:1/B/C", cause: bus.Wrap(bus.CodeUnavailable, cause, "nobody listens there"),
		details: []detail{{"certificate", "a.crt"}}, try: []string{"one", "two"},
	}
	var out strings.Builder
	report(&out, err, false)
	const want = `busd: cannot connect to wss://a:1/B/C: nobody listens there (unavailable)
  certificate  a.crt
  try          one
               two
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
	out.Reset()
	report(&out, err, true)
	if got := out.String(); !strings.HasPrefix(got, want) || !strings.Contains(got, "*net.OpError: dial tcp: connection refused") {
		t.Errorf("with --debug: got\n%s", got)
	}
}

func TestPlain(t *testing.T) {
	t.Parallel()
	remote := &bus.Error{Code: bus.CodeInvalidMessage, Path: "Ping.id", Reason: "want int, got string", Cause: errors.New("inside")}
	for _, test := range []struct {
		err  error
		want string
	}{
		{errors.New("text"), "text"},
		{remote, "Ping.id: want int, got string"},
		{fmt.Errorf("service A/B: %w", remote), "service A/B: Ping.id: want int, got string"},
		{&bus.Error{Code: bus.CodeSlowConsumer}, "slow consumer"},
		{served(Advise(bus.Wrap(bus.CodeInternal, remote, "no handler"), "x")), "cannot serve: no handler"},
		{&config.Error{Faults: []*config.Fault{{Where: "a", Reason: "b"}}}, "a: b"},
		{&config.Error{Faults: []*config.Fault{{Where: "a", Reason: "b"}, {Where: "c", Reason: "d"}}}, "the configuration has 2 faults:\na: b\nc: d"},
		{&fault{what: "a", cause: &fault{what: "b", cause: remote}}, "a: b: Ping.id: want int, got string"},
	} {
		if got := plain(test.err); got != test.want {
			t.Errorf("%#v: got %q, want %q", test.err, got, test.want)
		}
	}
}
