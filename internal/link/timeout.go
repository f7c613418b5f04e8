package link

import (
	"context"
	"time"
)

// DefaultTimeout bounds a request, or the wait for an ack, whose context has no
// deadline.
const DefaultTimeout = 30 * time.Second

// WithTimeout gives a context without a deadline the default one.
func WithTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, DefaultTimeout)
}
