package msgclient

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"busd/internal/keys"
)

const (
	// renewEvery is how often a client that runs looks whether its certificate was
	// renewed.
	renewEvery = 10 * time.Second
	// renewMaxWait bounds the pause after a move to the new certificate that
	// failed.
	renewMaxWait = 5 * time.Minute
)

// A renewal is the watch over a client's certificate.
type renewal struct {
	client *Client
	told   string // the error that was logged last
	wait   backoff
	next   time.Time // no move is tried before
}

// renew looks at the files until ctx ends, and moves the client when its
// certificate was renewed. There is nothing to look at where it is not in files.
func (c *Client) renew(ctx context.Context) {
	if c.cfg.CertFile == "" || c.creds == nil {
		return
	}
	r := renewal{client: c, wait: backoff{min: renewEvery, max: renewMaxWait}}
	ticker := time.NewTicker(renewEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			r.look()
		case <-ctx.Done():
			return
		}
	}
}

// look compares what the files hold with what the connection was made with. Files
// that cannot be used are mostly about to be: the certificate is there, and its key
// is not yet.
func (r *renewal) look() {
	c := r.client
	loaded, err := c.creds.Load()
	if err != nil {
		if err.Error() != r.told {
			r.told = err.Error()
			c.log.Warn("certificate files cannot be used", keys.Reason(err))
		}
		return
	}
	r.told = ""
	c.mu.Lock()
	conn := c.current
	c.mu.Unlock()
	switch {
	case conn == nil || conn.link.Cause() != nil: // the next attempt reads the files
		return
	case loaded.ShowsSame(conn.creds):
		r.wait.failures, r.next = 0, time.Time{}
		return
	case time.Now().Before(r.next):
		return
	}
	// It ends with the client, and not with Run's context, which may want to say
	// goodbye on what it is about to leave.
	err = c.move(c.life, conn, conn.address, leaveTimeout)
	switch {
	case err == nil:
		c.log.Info("moved to the renewed certificate", zap.Time("not_after", loaded.NotAfter()))
	case errors.Is(err, errEnded) || c.life.Err() != nil: // it was not the certificate
	default:
		pause := r.wait.next(err)
		r.next = time.Now().Add(pause)
		c.log.Warn("the certificate was renewed, and cannot be used yet", keys.Code(err), keys.Reason(err), keys.Wait(pause))
	}
}
