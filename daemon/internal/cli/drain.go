package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"busd/bus"
	"busd/daemon/internal/admin"
)

const (
	// defaultAdmin is where a server's admin listener is unless it is told
	// otherwise.
	defaultAdmin = "127.0.0.1:8444"
	// adminDial bounds reaching it.
	adminDial = 5 * time.Second
	// adminSilence is how long a server that drains may say nothing: it says
	// something each second.
	adminSilence = 15 * time.Second
	// maxAnswer bounds what it may say at a time.
	maxAnswer = 64 << 10
)

func (p *app) drain() *cobra.Command {
	var (
		d      draining
		target string
		limit  time.Duration
	)
	cmd := &cobra.Command{
		Use: "drain", Short: "ask a server on this machine to let its clients go, and to end",
		Long: "drain asks a running server, at its admin listener, to stop in good order: it is no\n" +
			"longer ready, accepts nobody, and asks its clients to move; what they had begun is\n" +
			"finished. Clients move to --target, or to another of their addresses, or come back to\n" +
			"this one, where a newer server may listen by then. drain says how many connections are\n" +
			"left, and returns when the server listens nowhere any more. Interrupted, it leaves the\n" +
			"server draining. SIGTERM to the server does the same.\n\n" +
			"It ends with 0 if all clients had finished, and with 9 if some had not in time.",
		Example: "  busd drain\n" +
			"  busd drain --target wss://bus-2.example.org:8443 --timeout 1m\n" +
			"  busd drain --admin 127.0.0.1:9444 --json | jq .connections",
		Args: between(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var r admin.DrainRequest
			if cmd.Flags().Changed("timeout") {
				if err := atLeast("timeout", limit, time.Millisecond); err != nil {
					return err
				}
				r.TimeoutMS = limit.Milliseconds()
			}
			var err error
			if r.Target, err = targetURL(target); err != nil {
				return err
			}
			if d.at, err = adminAddress(d.at, p.env); err != nil {
				return err
			}
			d.app = p
			return d.run(cmd.Context(), r)
		},
	}
	cmd.Flags().StringVar(&d.at, "admin", "", "the server's admin listener, host:port (default: BUSD_ADMIN__ADDRESS, or "+defaultAdmin+")")
	cmd.Flags().StringVar(&target, "target", "", "where clients are to move, a URL (default: where they like)")
	cmd.Flags().DurationVar(&limit, "timeout", 0, "after how long what is left is cut off (default: the server's shutdown.timeout)")
	cmd.Flags().BoolVar(&d.asJSON, "json", false, "print how far it is as JSON, one object a line")
	return cmd
}

// targetURL is a target as a server takes it: with its service or without.
func targetURL(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	_, rest, found := strings.Cut(text, "://")
	if !found {
		rest = text
	}
	if _, path, _ := strings.Cut(rest, "/"); path != "" {
		return address(text, "")
	}
	return parse(strings.TrimSuffix(text, "/"))
}

// adminAddress is where an admin listener can be reached; said is what the flag
// says. One for all addresses of the machine is reached by loopback.
func adminAddress(said string, env func(string) string) (string, error) {
	name := "--admin"
	if said == "" {
		name, said = "BUSD_ADMIN__ADDRESS", env("BUSD_ADMIN__ADDRESS")
	}
	if said == "" {
		return defaultAdmin, nil
	}
	host, port, err := net.SplitHostPort(strings.TrimSuffix(strings.TrimPrefix(said, "http://"), "/"))
	if err != nil || port == "0" {
		return "", usage("--admin HOST:PORT", "%s %s: want the host:port at which the server's admin listener can be reached", name, said)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if ip != nil && ip.To4() == nil {
			host = "::1"
		}
	}
	return net.JoinHostPort(host, port), nil
}

// draining is one drain, as it is followed.
type draining struct {
	app    *app
	at     string
	asJSON bool
	drawn  bool // the last line can be drawn over
}

// run asks for the drain and follows it to its end.
func (d *draining) run(ctx context.Context, r admin.DrainRequest) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silent := time.AfterFunc(adminSilence, func() { cancel(errSilent) })
	defer silent.Stop()
	resp, err := d.ask(ctx, r)
	if err != nil {
		return d.unreached(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return d.refused(resp)
	}
	lines := json.NewDecoder(resp.Body)
	for first := true; ; first = false {
		var now admin.Progress
		if err := lines.Decode(&now); err != nil {
			return d.broken(ctx, err)
		}
		silent.Reset(adminSilence)
		if err := d.show(now, first); err != nil {
			return err
		}
		switch now.State {
		case admin.StateDraining:
		case admin.StateDrained:
			return nil
		default:
			return d.cutOff(now)
		}
	}
}

// errSilent is the cause of a context when a server says nothing any more.
var errSilent = bus.Errorf(bus.CodeDeadlineExceeded, "the server has said nothing for %s", adminSilence)

func (d *draining) ask(ctx context.Context, r admin.DrainRequest) (*http.Response, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+d.at+"/drain", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	// No proxy is between a machine and itself.
	transport := &http.Transport{DialContext: (&net.Dialer{Timeout: adminDial}).DialContext, DisableKeepAlives: true}
	return transport.RoundTrip(request)
}

// show says how far it is: on a terminal in place, else a line each time.
func (d *draining) show(now admin.Progress, first bool) error {
	if d.asJSON {
		return d.app.printJSON(now)
	}
	if d.app.quiet {
		return nil
	}
	took := time.Duration(now.Seconds * float64(time.Second)).Round(100 * time.Millisecond)
	var text string
	switch {
	case now.State == admin.StateDraining && first && now.Already:
		text = fmt.Sprintf("the server at %s drains already, for %s: %s left", d.at, took, plural(now.Connections, "connection"))
	case now.State == admin.StateDraining:
		text = fmt.Sprintf("draining %s: %s left, %s", d.at, plural(now.Connections, "connection"), took)
	case now.State == admin.StateDrained:
		text = fmt.Sprintf("drained in %s: all clients had finished, and the server has ended", took)
	default:
		text = fmt.Sprintf("stopped after %s", took)
	}
	begin, end := "", "\n"
	if isTerminal(d.app.err) {
		if d.drawn {
			begin = "\r\x1b[K"
		}
		d.drawn = now.State == admin.StateDraining
		if d.drawn {
			end = ""
		}
	}
	_, err := io.WriteString(d.app.err, begin+text+end)
	return err
}

// leaveLine lets what follows begin on a line of its own.
func (d *draining) leaveLine() {
	if d.drawn {
		fmt.Fprintln(d.app.err)
		d.drawn = false
	}
}

func (d *draining) cutOff(now admin.Progress) error {
	code, _ := bus.ParseCode(now.Code)
	err := bus.Errorf(code, "%s", now.Reason)
	err.Remote = true
	return &fault{what: "the server has ended, but not in good order", cause: err, exit: exitOfStop(code)}
}

// exitOfStop is the exit code of a server that did not stop in good order.
func exitOfStop(code bus.Code) int {
	if code == bus.CodeDeadlineExceeded {
		return exitTimeout
	}
	return exitFailed
}

// refused says why a server does not drain.
func (d *draining) refused(resp *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // what there is
	reason := visible(strings.TrimSpace(string(text)))
	f := &fault{what: "the server at " + d.at + " does not drain: " + reason, exit: exitFailed}
	switch resp.StatusCode {
	case http.StatusBadRequest:
		f.exit = exitUsage
	case http.StatusForbidden, http.StatusMisdirectedRequest:
		f.exit, f.try = exitNotAllowed, []string{"busd drain on the server's own machine, or SIGTERM to it"}
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		f.what = "what listens at " + d.at + " is not the admin listener of a busd that can drain"
		f.try = []string{"--admin HOST:PORT                 as admin.address in the server's configuration"}
	}
	return f
}

func (d *draining) unreached(ctx context.Context, err error) error {
	if interrupted := orInterrupted(ctx, err); errors.Is(interrupted, errInterrupted) {
		return interrupted
	}
	f := &fault{what: "cannot reach the admin listener at " + d.at, cause: err, exit: exitNetwork}
	switch over := context.Cause(ctx); {
	case over != nil:
		f.cause, f.exit = over, 0
	default:
		f.cause = bus.Wrap(bus.CodeUnavailable, err, "nobody answers there")
	}
	f.try = []string{
		"--admin HOST:PORT                 as admin.address in the server's configuration",
		"SIGTERM to the server             does the same",
	}
	return f
}

// broken says what it means that a server stopped talking before its end.
func (d *draining) broken(ctx context.Context, err error) error {
	d.leaveLine()
	if interrupted := orInterrupted(ctx, err); errors.Is(interrupted, errInterrupted) {
		d.app.note("the server at %s goes on draining", d.at)
		return interrupted
	}
	if over := context.Cause(ctx); over != nil {
		return &fault{what: "the server at " + d.at + " may still be draining", cause: over}
	}
	return &fault{what: "the server at " + d.at + " has ended before all its clients had finished", cause: bus.Wrap(bus.CodeAborted, err, "it was killed"), exit: exitFailed}
}
