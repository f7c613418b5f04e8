package mtls

import (
	"context"
	"time"
)

// Poll calls reload every so often, until ctx ends, and returns ctx's error.
// report, which may be nil, is called with nil when something had changed, and
// with the errors of reload, of which there may be one beside a change; the same
// error again and again is reported once.
func Poll(ctx context.Context, every time.Duration, reload func() (changed bool, err error), report func(err error)) error {
	if report == nil {
		report = func(error) {}
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	var told string
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		changed, err := reload()
		if changed {
			report(nil)
		}
		switch {
		case err == nil:
			told = ""
		case err.Error() != told:
			told = err.Error()
			report(err)
		}
	}
}
