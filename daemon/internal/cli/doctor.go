package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"busd/bus"
	"busd/daemon/internal/doctor"
)

// examining is an examination that was asked for.
type examining struct {
	target
	contract string
	timeout  time.Duration
	asJSON   bool
}

func (p *app) doctor() *cobra.Command {
	var x examining
	cmd := &cobra.Command{
		Use: "doctor URL", Short: "explain why a connection fails, or will fail",
		Long: "doctor goes the way of a client, step by step: the own certificate and the CAs, the name,\n" +
			"TCP, TLS, the clocks, the server's certificate, whether the server takes yours, the\n" +
			"upgrade, the hello, the contract, and a ping. Of each step it says what it saw, and of\n" +
			"what is wrong what to do.\n\n" +
			"It does no harm: it shows the certificate only to a server that proved who it is, connects\n" +
			"as a client of its own, and says no hello where that would end another client's\n" +
			"connection. It ends with 0 if a client would be connected, else with the code that a\n" +
			"client would end with. docs/doctor.md explains every finding.",
		Example: "  busd doctor Framework/PingPong\n" +
			"  busd doctor bus.example.org/Framework/PingPong --cert agent.crt --key agent.key --ca ca.crt\n" +
			"  busd doctor Framework/PingPong --contract pingpong.yaml\n" +
			"  busd doctor Framework/PingPong --json | jq '.findings[] | select(.level != \"ok\")'",
		Args: between(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := p.examination(&x, args[0], cmd.Flags().Changed("timeout"))
			if err != nil {
				return err
			}
			return p.examine(cmd.Context(), o, x.asJSON)
		},
	}
	x.credentials.flags(cmd)
	cmd.Flags().StringVar(&x.argsText, "args", "", "the connect arguments, a JSON object, for services that want some")
	cmd.Flags().StringVar(&x.contract, "contract", "", "a file with the contract that the client was built with, to compare")
	cmd.Flags().DurationVar(&x.timeout, "timeout", doctor.DefaultTimeout, "how long each step may take (default for the hello: "+doctor.DefaultHelloTimeout.String()+")")
	cmd.Flags().BoolVar(&x.asJSON, "json", false, "print the findings as one JSON object")
	return cmd
}

// examination says what to examine. Files that are not there are findings, and
// not faults of the command line.
func (p *app) examination(x *examining, where string, timed bool) (doctor.Options, error) {
	var o doctor.Options
	err := positive("timeout", x.timeout)
	if err != nil {
		return o, err
	}
	if x.url, err = address(where, p.env("BUSD_URL")); err != nil {
		return o, err
	}
	if x.argsText != "" {
		if x.args, err = connectArgs(x.argsText); err != nil {
			return o, err
		}
	}
	x.chooseCA(p.env)
	if err := x.choose(p.env, true); err != nil {
		return o, err
	}
	o = doctor.Options{
		URL: x.url, Cert: x.cert, Key: x.key, CA: x.ca, Args: x.args,
		Known: p.actions.Services, Proxy: p.proxy(), Timeout: x.timeout, Version: Version,
	}
	if timed {
		o.HelloTimeout = x.timeout
	}
	if x.contract != "" {
		if o.Contract, err = contractIn(x.contract); err != nil {
			return o, err
		}
	}
	return o, nil
}

// proxy names the variable by which other programs use a proxy for this.
func (p *app) proxy() string {
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"} {
		if p.env(name) != "" {
			return name
		}
	}
	return ""
}

// examine prints what is found: as it is found, or, for programs, at the end.
func (p *app) examine(ctx context.Context, o doctor.Options, asJSON bool) error {
	shown := p.out
	if !asJSON {
		colours := p.colours(shown)
		o.Report = func(f doctor.Finding) { fmt.Fprint(shown, findingText(f, colours)) }
	}
	report, err := doctor.Examine(ctx, o)
	if err != nil {
		return orInterrupted(ctx, err)
	}
	if asJSON {
		if err := p.printJSON(report); err != nil {
			return err
		}
	} else if len(report.NotTried) > 0 {
		fmt.Fprintf(shown, "%-5s %s\n", "", "not tried: "+strings.Join(stepNames(report.NotTried), ", "))
	}
	failed, means := report.Failed()
	if failed == nil {
		return nil
	}
	f := &fault{what: fmt.Sprintf("a client cannot connect to %s: see %s (%s)", o.URL, stepName(failed.Step), failed.Code), exit: exitFailed}
	if exit := exitOf(bus.Errorf(means, "")); exit != exitUsage { // what the service refuses is no wrong usage
		f.exit = exit
	}
	return f
}

// findingText is a finding for people: what was seen, and below it what to do.
func findingText(f doctor.Finding, colours bool) string {
	const width = 26 // of what stands before the text: level and step
	word, colour := string(f.Level), ""
	switch f.Level {
	case doctor.OK:
		colour = "32"
	case doctor.Warn:
		colour = "33"
	case doctor.Fail:
		word, colour = "FAIL", "31;1"
	}
	level := fmt.Sprintf("%-5s ", word)
	if colours {
		level = "\x1b[" + colour + "m" + level + "\x1b[0m"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s%-19s %s", level, stepName(f.Step), visible(f.Seen))
	if f.Level != doctor.OK {
		fmt.Fprintf(&b, " (%s)", f.Code)
	}
	b.WriteByte('\n')
	name := "try"
	for _, t := range f.Try {
		fmt.Fprintf(&b, "%*s%-4s %s\n", width, "", name, visible(t))
		name = ""
	}
	return b.String()
}

// stepName is a step's name for people.
func stepName(s doctor.Step) string {
	if s == doctor.StepTrust {
		return "CAs"
	}
	return strings.ReplaceAll(string(s), "_", " ")
}

func stepNames(steps []doctor.Step) []string {
	names := make([]string, len(steps))
	for i, s := range steps {
		names[i] = stepName(s)
	}
	return names
}
