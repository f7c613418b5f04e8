package cli

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"busd/bus"
	"busd/rpc/rpcclient"
)

// callTimeout is how long a call may take by default: as long as a method may by
// default, and the way there.
const callTimeout = 70 * time.Second

// calling is a call that was asked for.
type calling struct {
	target
	method        string
	args          arguments
	group         string
	tokenFile     string
	token         string
	timeout       time.Duration
	asJSON        bool
	output, input string
}

func (p *app) call() *cobra.Command {
	var (
		c     calling
		named []string
	)
	cmd := &cobra.Command{
		Use: "call URL METHOD [ARGUMENT…]", Short: "call a method of a service and print its result",
		Long: "call makes one call and prints the result: a text as it is, everything else as JSON. An\n" +
			"ARGUMENT is a value in JSON if it can be read as one, else a text: 1 is a number, hello\n" +
			"and '\"1\"' are texts, - is read from standard input. Before a negative number put --.\n" +
			"Instead of in their order all arguments can be given by name, --kw name=value. busd\n" +
			"schema show URL lists the methods and their arguments; ping, echo and whoami are methods\n" +
			"of every service.\n\n" +
			"The call goes over HTTPS, or, if the URL says wss://, over a stable connection. It is\n" +
			"never repeated when it may have been executed.\n\n" +
			"--output writes what a method sends to a file (a download), --input sends a file as the\n" +
			"last argument (an upload); - is standard output and input.",
		Example: "  busd call Framework/PingPong ping\n" +
			"  busd call localhost:8443/Framework/PingPong add 1 2\n" +
			"  busd call Framework/PingPong add --kw a=1 --kw b=2 --json\n" +
			"  busd call wss://bus.example.org:8443/Framework/PingPong echo '{\"a\": [1, 2.5, null]}'\n" +
			"  busd call Data/Files fetch run-17.log --output run-17.log\n" +
			"  busd call Data/Files store run-18.log --input run-18.log",
		Args: between(2, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.complete(args, named, p.in, p.env); err != nil {
				return err
			}
			return p.makeCall(cmd.Context(), &c)
		},
	}
	c.credentials.flags(cmd)
	cmd.Flags().StringArrayVar(&named, "kw", nil, "an argument by its name, name=value")
	cmd.Flags().StringVar(&c.group, "group", "", "the group to act in (default: that of the credential, or yours)")
	cmd.Flags().StringVar(&c.tokenFile, "token-file", "", "a file with a bearer token, to show instead of a certificate (default: BUSD_TOKEN_FILE)")
	cmd.Flags().DurationVar(&c.timeout, "timeout", callTimeout, "how long it may take, connecting included; of a file, how long nothing may come")
	cmd.Flags().BoolVar(&c.asJSON, "json", false, "print the result as one JSON value in one line")
	cmd.Flags().StringVarP(&c.output, "output", "o", "", "write what comes to this file, which appears when all of it is there")
	cmd.Flags().StringVarP(&c.input, "input", "i", "", "send this file as the last argument")
	return cmd
}

// complete checks what was typed, and fills in what was not.
func (c *calling) complete(args, named []string, in io.Reader, env func(string) string) (err error) {
	c.method = args[1]
	if err = positive("timeout", c.timeout); err != nil {
		return err
	}
	switch {
	case len(named) > 0 && (c.input != "" || c.output != ""):
		return usage("", "--kw cannot be used with --input and --output: give the arguments in their order")
	case c.input != "" && c.output != "":
		return usage("", "--input and --output cannot be used together")
	case c.input == "-" && slices.Contains(args[2:], "-"):
		return usage("", "standard input can be the file or an argument: - is there twice")
	}
	if c.url, err = callAddress(args[0], env("BUSD_URL")); err != nil {
		return err
	}
	if err = c.completeToken(env); err != nil {
		return err
	}
	c.args, err = readArguments(in, args[2:], named)
	return err
}

// callAddress is address for a call: over HTTPS, unless the URL itself says
// otherwise.
func callAddress(text, base string) (string, error) {
	url, err := address(text, base)
	if err != nil || strings.HasPrefix(text, "wss://") {
		return url, err
	}
	return "https://" + strings.TrimPrefix(url, "wss://"), nil
}

// completeToken reads the token, if one is to be shown, and finds the certificate.
// A certificate goes before a token where both are shown: so that of the
// development directory is not shown beside one. A call needs neither: some
// methods are for everybody.
func (c *calling) completeToken(env func(string) string) error {
	byFlag := c.cert != "" || c.key != ""
	if c.tokenFile == "" && !byFlag {
		c.tokenFile = env("BUSD_TOKEN_FILE")
	}
	if c.tokenFile == "" || byFlag {
		if err := c.credentials.complete(env, strings.HasPrefix(c.url, "https:")); err != nil {
			return err
		}
	} else if err := c.completeCA(env); err != nil {
		return err
	}
	if c.tokenFile == "" {
		return nil
	}
	if strings.HasPrefix(c.url, "wss:") && !byFlag {
		return usage("https"+strings.TrimPrefix(c.url, "wss")+"     the same over HTTPS", "a token opens no stable connection: that needs a certificate")
	}
	data, err := os.ReadFile(c.tokenFile)
	if err != nil {
		return unreadable(c.tokenFile, err)
	}
	if c.token = strings.TrimSpace(string(data)); c.token == "" {
		return &fault{what: "there is no token in " + c.tokenFile, exit: exitAuth}
	}
	return nil
}

// makeCall makes the call and prints what comes of it.
func (p *app) makeCall(ctx context.Context, c *calling) error {
	cfg := rpcclient.Config{
		CertFile: c.cert, KeyFile: c.key, CAFiles: c.ca, Token: c.token, Group: c.group,
		Timeout: c.timeout, Name: "busd", Version: Version,
	}
	if p.debug {
		cfg.Logger = p.logger()
	}
	began := time.Now()
	dialing, cancel := context.WithTimeoutCause(ctx, c.timeout, bus.Errorf(bus.CodeDeadlineExceeded, "it took longer than %s", c.timeout))
	defer cancel()
	client, err := rpcclient.Dial(dialing, c.url, cfg)
	if err != nil {
		return c.cannot(dialing, err)
	}
	defer func() { _ = client.Close() }() // the call is over
	switch {
	case c.output != "":
		err = p.download(ctx, client, c, began)
	case c.input != "":
		err = p.upload(ctx, client, c, began)
	default:
		err = p.callMethod(ctx, client, c, began)
	}
	return orInterrupted(ctx, err)
}

func (p *app) callMethod(ctx context.Context, client *rpcclient.Client, c *calling, began time.Time) error {
	var (
		result any
		err    error
	)
	if c.args.named != nil {
		result, err = client.CallNamed(ctx, c.method, c.args.named)
	} else {
		result, err = client.Call(ctx, c.method, c.args.list...)
	}
	if err != nil {
		return c.failed(ctx, err)
	}
	return p.result(c, result, began)
}

// result prints what a method returned.
func (p *app) result(c *calling, result any, began time.Time) error {
	if result == nil && !c.asJSON {
		p.note("%s has been called, and returned nothing, in %s", c.method, since(began))
		return nil
	}
	return p.printResult(result, c.asJSON)
}

// download writes what a method sends to a file.
func (p *app) download(ctx context.Context, client *rpcclient.Client, c *calling, began time.Time) error {
	bar := p.newProgress(c.output)
	client = client.Watch(bar.moved)
	var err error
	if c.output == "-" {
		if isTerminal(p.out) {
			return usage("", "--output -: what comes may be anything but text, and standard output is a terminal: name a file, or pipe it")
		}
		_, err = client.Receive(ctx, p.out, c.method, c.args.list...)
	} else {
		err = client.ReceiveFile(ctx, c.output, c.method, c.args.list...)
	}
	bar.end()
	switch {
	case err != nil:
		return c.failed(ctx, err)
	case c.output == "-":
		return nil
	case c.asJSON:
		return p.printJSON(received{c.output, bar.done})
	}
	p.note("%s: %s, in %s", c.output, bytesText(bar.done), since(began))
	return nil
}

// received is how a download is printed for programs.
type received struct {
	File  string `json:"file"`
	Bytes int64  `json:"bytes"`
}

// upload sends a file as the last argument.
func (p *app) upload(ctx context.Context, client *rpcclient.Client, c *calling, began time.Time) error {
	from, size, name := p.in, int64(-1), "standard input"
	if c.input != "-" {
		f, err := os.Open(c.input)
		if err != nil {
			return unreadable(c.input, err)
		}
		defer f.Close()
		info, err := f.Stat()
		switch {
		case err != nil:
			return unreadable(c.input, err)
		case info.IsDir():
			return unreadable(c.input, &fs.PathError{Op: "read", Path: c.input, Err: syscall.EISDIR})
		case info.Mode().IsRegular():
			size = info.Size()
		}
		from, name = f, c.input
	}
	bar := p.newProgress(name)
	result, err := client.Watch(bar.moved).Send(ctx, from, size, c.method, c.args.list...)
	bar.end()
	if err != nil {
		return c.failed(ctx, err)
	}
	p.note("%s: sent %s, in %s", name, bytesText(bar.done), since(began))
	if result == nil && !c.asJSON {
		return nil
	}
	return p.printResult(result, c.asJSON)
}

// bytesText says a size for people.
func bytesText(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d bytes", n)
	}
	value, i := float64(n)/unit, 0
	units := []string{"KiB", "MiB", "GiB", "TiB"}
	for value >= unit && i < len(units)-1 {
		value, i = value/unit, i+1
	}
	return fmt.Sprintf("%.1f %s", value, units[i])
}
