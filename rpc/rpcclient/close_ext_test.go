package rpcclient_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"busd/bus"
	"busd/bustest"
	"busd/msgbus"
	"busd/rpc"
	"busd/rpc/rpcclient"
)

// slowService is one whose method waits until it may go on.
func slowService(entered chan<- struct{}, leave <-chan struct{}) *rpc.Service {
	s := rpc.NewService("Framework/Slow")
	rpc.Export(s, "wait", func(ctx context.Context) (string, error) {
		entered <- struct{}{}
		select {
		case <-leave:
			return "done", nil
		case <-ctx.Done():
			return "", ctx.Err()
		}
	})
	rpc.Export(s, "echo", func(text string) string { return text })
	return s
}

// node serves it in memory.
func node(t *testing.T, methods *rpc.Service) *bustest.Server {
	t.Helper()
	return bustest.NewServer(t, msgbus.Config{}, &msgbus.Service{Methods: methods})
}

func connect(t *testing.T, srv *bustest.Server, scheme string, cfg rpcclient.Config) *rpcclient.Client {
	t.Helper()
	cfg.TLS, cfg.DialContext = bustest.ClientTLS(t, "agent"), srv.DialContext
	c, err := rpcclient.Dial(t.Context(), strings.Replace(srv.URL(), "wss", scheme, 1), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return c
}

// Close ends calls and transfers that are under way; later ones are not made.
func TestClose(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"https", "wss"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			entered := make(chan struct{})
			c := connect(t, node(t, slowService(entered, nil)), scheme, rpcclient.Config{})
			ended := make(chan error)
			go func() {
				_, err := c.Call(t.Context(), "wait")
				ended <- err
			}()
			<-entered
			if err := c.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
			if err := <-ended; bus.CodeOf(err) != bus.CodeGoingAway || errors.Is(err, rpcclient.ErrNotExecuted) {
				t.Errorf("a call under way: got %v", err)
			}
			for range 2 {
				_, err := c.Call(t.Context(), "echo", "x")
				if bus.CodeOf(err) != bus.CodeGoingAway || !errors.Is(err, rpcclient.ErrNotExecuted) {
					t.Errorf("a call after it: got %v", err)
				}
				if _, err := c.Receive(t.Context(), io.Discard, ""); bus.CodeOf(err) != bus.CodeGoingAway {
					t.Errorf("a download after it: got %v", err)
				}
				if err := c.Close(); err != nil {
					t.Errorf("Close again: %v", err)
				}
			}
		})
	}
}

// Over a stable connection a call rides over a cut: it is executed once, and has its
// result.
func TestStableCallRidesOverACut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		entered, leave := make(chan struct{}), make(chan struct{})
		srv := node(t, slowService(entered, leave))
		c := connect(t, srv, "wss", rpcclient.Config{})
		result := make(chan any)
		go func() {
			got, err := c.Call(t.Context(), "wait")
			if err != nil {
				t.Errorf("Call: %v", err)
			}
			result <- got
		}()
		<-entered
		srv.Cut()
		time.Sleep(30 * time.Second) // it has come back
		leave <- struct{}{}
		if got := <-result; got != "done" {
			t.Errorf("got %v", got)
		}
	})
}

// A service that cannot be reached is an error at once, the first time; later the
// connection is waited for, and the error says why there is none.
func TestStableConnectionFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := node(t, slowService(nil, nil))
		conf := bustest.ClientTLS(t, "agent")
		for _, url := range []string{"wss://" + bustest.Host + "/Framework/Other"} {
			_, err := rpcclient.Dial(t.Context(), url, rpcclient.Config{TLS: conf, DialContext: srv.DialContext})
			if bus.CodeOf(err) != bus.CodeNotFound || !errors.Is(err, rpcclient.ErrNotExecuted) {
				t.Errorf("%s: got %v", url, err)
			}
		}
		c, err := rpcclient.New(rpcclient.Config{URL: srv.URL(), TLS: conf, DialContext: srv.DialContext, Timeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if got, err := c.Call(t.Context(), "echo", "x"); err != nil || got != "x" { // which connects
			t.Errorf("got %v, %v", got, err)
		}
		srv.Stop()
		began := time.Now()
		_, err = c.Call(t.Context(), "echo", "x")
		if bus.CodeOf(err) != bus.CodeDeadlineExceeded || !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Minute {
			t.Errorf("got %v after %s", err, time.Since(began))
		}
		if !strings.Contains(err.Error(), "there was no connection in time") {
			t.Errorf("got %v, want why", err)
		}
	})
}

// What a stable connection cannot do is done over https: files, and calls for others.
func TestStableClientOverHTTPS(t *testing.T) {
	t.Parallel()
	c := connect(t, node(t, slowService(nil, nil)), "wss", rpcclient.Config{})
	other, err := c.For(rpcclient.Forward{DN: "/C=x/CN=y", Group: "g"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = other.Call(t.Context(), "echo", "x")
	if e := failure(t, err); e.Err.Code != bus.CodePermissionDenied || e.Status != 403 {
		t.Errorf("got %v, status %d; want that only trusted hosts may", err, e.Status)
	}
	if _, err := c.For(rpcclient.Forward{DN: "/C=x/CN=y"}); bus.CodeOf(err) != bus.CodeInvalidArgument {
		t.Errorf("got %v", err)
	}
}
