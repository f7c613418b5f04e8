package cli

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"busd/bus"
	"busd/msgclient"
)

// closeTimeout bounds the goodbye to a service.
const closeTimeout = 3 * time.Second

// target is a service to connect to, and how.
type target struct {
	credentials
	url      string
	instance string
	argsText string // as it was typed
	args     map[string]any
}

func (t *target) flags(cmd *cobra.Command) {
	t.credentials.flags(cmd)
	cmd.Flags().StringVar(&t.argsText, "args", "", "the connect arguments, a JSON object, for services that want some")
	cmd.Flags().StringVar(&t.instance, "instance", "", "what tells this client from others of its certificate (default: a new one)")
}

// complete fills in what was not said. text is the URL as it was typed.
func (t *target) complete(text string, env func(string) string) error {
	var err error
	if t.url, err = address(text, env("BUSD_URL")); err != nil {
		return err
	}
	if t.instance != "" {
		if err := bus.CheckInstance(t.instance); err != nil {
			return &fault{what: "--instance", cause: err, exit: exitUsage}
		}
	}
	if t.argsText != "" {
		if t.args, err = connectArgs(t.argsText); err != nil {
			return err
		}
	}
	return t.credentials.complete(env, false)
}

// client makes a client of the service.
func (p *app) client(t *target, cfg msgclient.Config) (*msgclient.Client, error) {
	cfg.URL, cfg.Instance, cfg.Args = t.url, t.instance, t.args
	cfg.CertFile, cfg.KeyFile, cfg.CAFiles = t.cert, t.key, t.ca
	cfg.Name, cfg.Version = "busd", Version
	if p.debug {
		cfg.Logger = p.logger()
	}
	return msgclient.New(cfg)
}

// logger writes to standard error for the curious.
func (p *app) logger() *zap.Logger {
	encoder := zap.NewDevelopmentEncoderConfig()
	encoder.EncodeTime = zapcore.ISO8601TimeEncoder
	return zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(encoder), zapcore.AddSync(p.err), zap.DebugLevel))
}

// visit connects, runs do, and says goodbye. A cut meanwhile is ridden over: the
// client comes back, and its session goes on. do's context ends when there will
// be no connection any more, or when the service reports that a message of ours
// failed; the cause says why.
func (p *app) visit(ctx context.Context, t *target, do func(ctx context.Context, c *msgclient.Client) error) error {
	visiting, end := context.WithCancelCause(ctx)
	defer end(nil)
	l := &line{app: p}
	c, err := p.client(t, l.watch(msgclient.Config{
		OnDrop: func(_ context.Context, _ *msgclient.Client, why error) {
			if !ridesOver(why) {
				end(why)
			}
		},
		OnError: func(_ *msgclient.Client, err error) { end(err) },
	}))
	if err != nil {
		return err
	}
	var running sync.WaitGroup
	defer running.Wait()
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		if !c.Connected() {
			cancel() // there is nobody to say goodbye to
		}
		_ = c.Close(closing) // what had to arrive was waited for
	}()
	if err := c.Connect(ctx); err != nil {
		return t.cannot(ctx, err)
	}
	running.Go(func() { end(c.Run(context.WithoutCancel(ctx))) }) // ends with Close
	return orInterrupted(ctx, l.explain(do(visiting, c)))
}

// orInterrupted returns the interruption that made err, if that is what it was.
func orInterrupted(ctx context.Context, err error) error {
	if err != nil && errors.Is(context.Cause(ctx), errInterrupted) {
		return errInterrupted
	}
	return err
}

// shown says which certificate is shown.
func (t *target) shown() []detail {
	text := t.cert
	if c, err := readCertificate(t.cert); err == nil {
		text += fmt.Sprintf("  (%s, issued by %s, until %s)", c.Subject, c.Issuer, c.NotAfter.Format(time.DateOnly))
	}
	return []detail{{"certificate", text}}
}

// believed says which CAs may have signed the server's certificate.
func (t *target) believed() []detail {
	if len(t.ca) == 0 {
		return []detail{{"believed CA", "those of the system"}}
	}
	details := make([]detail, len(t.ca))
	for i, ca := range t.ca {
		details[i] = detail{"believed CA", ca}
	}
	return details
}
