// Command bench measures busd and its peers: the same work, in one run, on one
// machine, servers and clients in processes of their own, over mutual TLS 1.3.
// It is a module of its own: what it depends on never reaches busd's users.
//
//	go run . [-quick] [-only REGEXP] [-rounds N] [-marks] [-json FILE] [-markdown FILE] [-svg DIR] [-profile DIR]
//
// README.md says what is measured and how. It runs on Linux.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
)

func main() {
	playRole(os.Args)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // a measurement, or writing what came of it
	exitUsage  = 2
)

// settings are what the flags say.
type settings struct {
	quick, marks        bool
	rounds              int
	only                *regexp.Regexp
	json, markdown, svg string
	profile             string
}

func run(ctx context.Context, arguments []string, stdout, stderr io.Writer) int {
	o, err := parse(arguments, stderr)
	if err != nil {
		if err != flag.ErrHelp { //nolint:errorlint // Parse returns it as it is
			fmt.Fprintln(stderr, err)
		}
		return exitUsage
	}
	if err := o.prepare(); err != nil { // not after an hour
		fmt.Fprintln(stderr, err)
		return exitFailed
	}
	s := fullScale
	if o.quick {
		s = quickScale
	}
	if o.rounds > 0 {
		s.Rounds = o.rounds
	}
	s, said := s.fitting()
	if said != "" {
		fmt.Fprintln(stderr, said)
	}
	b, remove, err := newBench(s, stderr)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitFailed
	}
	defer remove()
	b.quick, b.only, b.profiles = o.quick, o.only, o.profile
	r := b.run(ctx)
	return o.tell(r, stdout, stderr)
}

func parse(arguments []string, stderr io.Writer) (settings, error) {
	var o settings
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.BoolVar(&o.quick, "quick", false, "some of the works, smaller, in one round: about two minutes")
	flags.BoolVar(&o.marks, "marks", false, "print which marks are reached")
	flags.IntVar(&o.rounds, "rounds", 0, "how often each is measured (default 5; 1 with -quick)")
	only := flags.String("only", "", "measure only what matches this `regexp`: work/contender, such as ^echo-16-1/(busd|grpc)$")
	flags.StringVar(&o.json, "json", "", "write all figures of all rounds into this `file`")
	flags.StringVar(&o.markdown, "markdown", "", "write the report into this `file`: between the marks in it, if it has them, else at its end")
	flags.StringVar(&o.svg, "svg", "", "write a plot of each work into this `directory`; the report shows them")
	flags.StringVar(&o.profile, "profile", "", "write CPU and allocation profiles of all processes into this `directory`; they cost some of the speed")
	if err := flags.Parse(arguments); err != nil {
		return o, err
	}
	if flags.NArg() > 0 || o.rounds < 0 {
		flags.Usage()
		return o, flag.ErrHelp
	}
	if *only != "" {
		var err error
		if o.only, err = regexp.Compile(*only); err != nil {
			return o, fmt.Errorf("-only: %w", err)
		}
	}
	return o, nil
}

// prepare makes the directories that are written into.
func (o settings) prepare() error {
	dirs := []string{o.svg, o.profile}
	for _, file := range []string{o.json, o.markdown} {
		if file != "" {
			dirs = append(dirs, filepath.Dir(file))
		}
	}
	for _, dir := range dirs {
		if dir == "" {
			continue
		}
		if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // G301: for everybody to read
			return err
		}
	}
	return nil
}

// tell writes what came of a run wherever it is wanted.
func (o settings) tell(r *results, stdout, stderr io.Writer) int {
	code := exitOK
	check := func(err error) {
		if err != nil {
			fmt.Fprintln(stderr, err)
			code = exitFailed
		}
	}
	if len(r.Samples) == 0 {
		check(fmt.Errorf("nothing was measured: see -only"))
		return code
	}
	if n := len(r.failed()); n > 0 {
		check(fmt.Errorf("%d measurements failed", n))
	}
	if o.json != "" {
		check(r.write(o.json))
	}
	plots := map[string]string{}
	if o.svg != "" {
		var err error
		plots, err = writePlots(r, o.svg)
		check(err)
	}
	if o.markdown != "" {
		check(writeReport(r, o.markdown, plots))
	} else {
		check(writeTables(r, stdout))
	}
	if o.marks {
		check(writeMarks(r, stdout))
	}
	return code
}
