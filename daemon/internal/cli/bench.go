package cli

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"busd/bus"
	load "busd/daemon/internal/bench"
	"busd/internal/nearest"
	"busd/msgclient"
	"busd/schema"
)

// benching is a bench that was asked for.
type benching struct {
	target
	only    []string
	message string
	options load.Options
	asJSON  bool
}

func (p *app) bench() *cobra.Command {
	var b benching
	cmd := &cobra.Command{
		Use: "bench URL", Short: "measure a running service: latency, throughput, fan-out, connections, reconnect",
		Long: "bench puts load on a service for about 10 s and says what came of it. Calls go to the\n" +
			"method echo, which every service has, over stable connections and over HTTPS; nothing of\n" +
			"the service's own is touched unless --message names a message to send.\n\n" +
			"  latency      one call (or message) at a time, on one connection\n" +
			"  throughput   as many as go, on " + plainInt(load.FlowConnections) + " connections; messages one way, then a wait for the last\n" +
			"  fan-out      what the service sends to " + plainInt(load.ManyConnections) + " connections when it gets the message\n" +
			"  connections  " + plainInt(load.ManyConnections) + " are opened, with full and with resumed TLS handshakes\n" +
			"  reconnect    the lines of " + plainInt(load.ManyConnections) + " clients are cut at once, until all are back\n\n" +
			"Everything that fails is counted by its code. Interrupted, it prints what it has so far.\n" +
			"It loads the server as much as one client can: a server that others need had better\n" +
			"be measured with --rate. It ends with 0 if all was measured and nothing failed.",
		Example: "  busd bench Framework/PingPong\n" +
			"  busd bench Framework/PingPong --message 'Ping {\"id\": 1}'\n" +
			"  busd bench bus.example.org:8443/Framework/PingPong --only latency --rate 200 --duration 1m --histogram\n" +
			"  busd bench Framework/PingPong --only connections,reconnect --connections 1000\n" +
			"  busd bench Framework/PingPong --json | jq '.results[].latency.p99_us'",
		Args: between(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := b.complete(cmd, args[0], p); err != nil {
				return err
			}
			return p.measure(cmd.Context(), &b)
		},
	}
	b.credentials.flags(cmd)
	f, o := cmd.Flags(), &b.options
	f.StringVar(&b.argsText, "args", "", "the connect arguments, a JSON object, for services that want some")
	f.StringSliceVar(&b.only, "only", nil, "the tests to run, with commas between (default: all)")
	f.StringVar(&b.message, "message", "", "a message to send, its name and then its attributes: 'Ping {\"id\": 1}'")
	f.IntVar(&o.Connections, "connections", 0, "how many connections each test uses (default: see above)")
	f.DurationVar(&o.Duration, "duration", load.DefaultDuration, "how long each measurement of latency, throughput and fan-out takes")
	f.Float64Var(&o.Rate, "rate", 0, "begin so many calls or messages a second, over all connections, and measure from when each was due (default: as many as go)")
	f.IntVar(&o.InFlight, "in-flight", 0, "how many calls are under way on each connection, or connections are being opened (default: of throughput "+
		plainInt(load.DefaultInFlight)+", of connections "+plainInt(load.DefaultDialing)+")")
	f.IntVar(&o.Size, "size", load.DefaultSize, "how long the text is that is echoed, in bytes")
	f.BoolVar(&o.Histogram, "histogram", false, "show the histogram of each latency, too")
	f.BoolVar(&b.asJSON, "json", false, "print the result as one JSON object")
	return cmd
}

// complete checks what was typed, and fills in what was not.
func (b *benching) complete(cmd *cobra.Command, url string, p *app) error {
	if err := b.checkNumbers(cmd); err != nil {
		return err
	}
	for _, name := range b.only {
		test := load.Test(strings.TrimSpace(name))
		if !slices.Contains(load.Tests(), test) {
			return unknownTest(name)
		}
		b.options.Only = append(b.options.Only, test)
	}
	if b.message == "" && slices.Equal(b.options.Only, []load.Test{load.FanOut}) {
		return usage("--message 'NAME {…}'             one that makes the service send something to all", "--only fan-out: want a message, too")
	}
	if err := b.target.complete(url, p.env); err != nil {
		return err
	}
	b.options.Client = msgclient.Config{
		URL: b.url, Args: b.args, CertFile: b.cert, KeyFile: b.key, CAFiles: b.ca, Name: "busd", Version: Version,
	}
	if p.debug {
		b.options.Client.Logger = p.logger()
	}
	if b.message != "" {
		name, attrs, _ := strings.Cut(strings.TrimSpace(b.message), " ")
		var args []string
		if attrs = strings.TrimSpace(attrs); attrs != "" {
			args = []string{attrs}
		}
		b.options.Message = func(c *msgclient.Client) (*schema.Record, error) { return p.record(c, name, args) }
	}
	return nil
}

// checkNumbers checks what was given.
func (b *benching) checkNumbers(cmd *cobra.Command) error {
	o := &b.options
	for _, n := range []struct {
		flag      string
		got, most int
	}{
		{"connections", o.Connections, load.MaxConnections},
		{"in-flight", o.InFlight, load.MaxInFlight},
		{"size", o.Size, load.MaxSize},
	} {
		if cmd.Flags().Changed(n.flag) && (n.got < 1 || n.got > n.most) {
			return usage("", "--%s %d: want 1 to %d", n.flag, n.got, n.most)
		}
	}
	if o.Connections*o.InFlight > load.MaxWorkers {
		return usage("", "--connections %d --in-flight %d: want at most %d together", o.Connections, o.InFlight, load.MaxWorkers)
	}
	if cmd.Flags().Changed("rate") && !(o.Rate > 0 && o.Rate <= load.MaxRate) { // NaN is neither
		return usage("", "--rate %v: want more than 0, and at most %.0f a second", o.Rate, load.MaxRate)
	}
	if o.Duration < load.MinDuration || o.Duration > load.MaxDuration {
		return usage("", "--duration %s: want %s to %s", o.Duration, load.MinDuration, load.MaxDuration)
	}
	return nil
}

func unknownTest(name string) error {
	known := make([]string, len(load.Tests()))
	for i, t := range load.Tests() {
		known[i] = string(t)
	}
	f := usage("", "--only %s: there is no such test; there are %s", name, strings.Join(known, ", "))
	if near := nearest.Word(name, known); near != "" {
		f.try = []string{"--only " + near}
	}
	return f
}

// measure runs the bench and prints what comes of it, as it comes.
func (p *app) measure(ctx context.Context, b *benching) error {
	t := p.newBenchTable(b)
	if !b.asJSON {
		b.options.OnResult = t.add
	}
	if t.live {
		b.options.OnProgress = t.moved
	}
	report, err := load.Run(ctx, b.options)
	t.bar.end()
	if report.Version == 0 {
		return b.unmeasured(ctx, err)
	}
	if b.asJSON {
		if failed := p.printJSON(report); failed != nil {
			return failed
		}
	} else if failed := t.end(&report); failed != nil {
		return failed
	}
	if err != nil {
		return err // it was interrupted
	}
	return verdict(&report)
}

// unmeasured says why nothing was measured.
func (b *benching) unmeasured(ctx context.Context, err error) error {
	var unreached *load.Unreached
	var no *load.Refused
	switch {
	case errors.As(err, &unreached):
		return b.cannot(ctx, unreached.Err)
	case errors.As(err, &no):
		failed := refused(ctx, "the service did not take "+no.What, no.Err)
		var f *fault
		if errors.As(failed, &f) && bus.CodeOf(no.Err) == bus.CodeUnimplemented {
			f.exit = exitNotFound
		}
		return failed
	}
	return orInterrupted(ctx, err)
}

// verdict is nil if everything was measured and nothing failed.
func verdict(r *load.Report) error {
	f := &fault{what: "not everything worked", exit: exitFailed}
	measured, failed := 0, false
	for i := range r.Results {
		x := &r.Results[i]
		name := benchName(x)
		switch {
		case x.NotMeasured == "":
			measured++
		case x.Failed:
			f.details = append(f.details, detail{string(x.Test), name + ": " + x.NotMeasured})
		}
		failed = failed || x.Failed
		if n := x.ErrorCount(); n > 0 {
			failed = true
			f.details = append(f.details, detail{string(x.Test), name + ": " + benchErrors(x)})
		}
	}
	switch {
	case failed:
		return f
	case measured == 0:
		return &fault{what: "nothing could be measured", exit: exitFailed}
	}
	return nil
}
