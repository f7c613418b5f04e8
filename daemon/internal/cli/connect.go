package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
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
}

func (t *target) flags(cmd *cobra.Command) {
	t.credentials.flags(cmd)
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
	return t.credentials.complete(env)
}

// client makes a client of the service.
func (p *app) client(t *target, cfg msgclient.Config) (*msgclient.Client, error) {
	cfg.URL, cfg.Instance = t.url, t.instance
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

// visit connects, runs do, and says goodbye. do's context ends with the
// connection, or when the service reports that a message of ours failed; the
// cause says why.
func (p *app) visit(ctx context.Context, t *target, do func(ctx context.Context, c *msgclient.Client) error) error {
	visiting, end := context.WithCancelCause(ctx)
	defer end(nil)
	c, err := p.client(t, msgclient.Config{
		OnDrop:  func(_ context.Context, _ *msgclient.Client, why error) { end(why) },
		OnError: func(_ *msgclient.Client, err error) { end(err) },
	})
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		_ = c.Close(closing) // what had to arrive was waited for
	}()
	if err := c.Connect(ctx); err != nil {
		return t.cannot(ctx, err)
	}
	return orInterrupted(ctx, do(visiting, c))
}

// orInterrupted returns the interruption that made err, if that is what it was.
func orInterrupted(ctx context.Context, err error) error {
	if err != nil && errors.Is(context.Cause(ctx), errInterrupted) {
		return errInterrupted
	}
	return err
}

// cannot says why there is no connection, and what to try.
func (t *target) cannot(ctx context.Context, err error) error {
	if interrupted := orInterrupted(ctx, err); errors.Is(interrupted, errInterrupted) {
		return interrupted
	}
	if over := context.Cause(ctx); over != nil {
		err = over // what the attempt was doing just then is no news
	}
	f := &fault{what: "cannot connect to " + t.url, cause: err}
	switch code := bus.CodeOf(err); code { //nolint:exhaustive // the others need no advice
	case bus.CodeUnavailable, bus.CodeDeadlineExceeded:
		f.try = []string{"busd serve --dev                  a server on this machine, or another URL"}
	case bus.CodeFailedPrecondition: // a file of ours
		f.exit = exitAuth
		f.details = append(t.shown(), t.believed()...)
		f.try = []string{"busd pki issue client NAME        a certificate and its key"}
	case bus.CodeUnauthenticated, bus.CodeCertificateExpired, bus.CodeCertificateRevoked:
		if errors.As(err, new(*tls.CertificateVerificationError)) { // it is the server's that is not good
			f.details = t.believed()
			f.try = []string{"--ca FILE                         the CA that signed the server's certificate"}
			break
		}
		f.details = t.shown()
		f.try = []string{
			"busd pki show " + t.cert + "    who it is, who signed it, until when",
			"--cert FILE --key FILE            a certificate whose CA the server believes",
		}
	case bus.CodeNotFound:
		f.try = []string{"the server's services are named in its log, and in its configuration"}
	case bus.CodeResourceExhausted:
		f.try = []string{"again in a while: the server is full"}
	}
	return f
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
