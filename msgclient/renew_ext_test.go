package msgclient_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"busd/bus"
	"busd/bustest"
	"busd/msgbus"
	"busd/msgclient"
)

// A folder is where a client's certificate, key and CAs are.
type folder struct {
	t             *testing.T
	cert, key, ca string
}

func newFolder(t *testing.T) *folder {
	dir := t.TempDir()
	return &folder{
		t: t, cert: filepath.Join(dir, "client.crt"), key: filepath.Join(dir, "client.key"),
		ca: filepath.Join(dir, "ca.crt"),
	}
}

func (f *folder) write(path, kind string, der []byte) {
	f.t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// issue makes a certificate of that name. The first part is put there at once, the
// key when it is asked for. It returns the serial number.
func (f *folder) issue(peer string) (serial string, key func()) {
	f.t.Helper()
	cert := bustest.ClientTLS(f.t, peer).Certificates[0]
	der, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		f.t.Fatal(err)
	}
	f.write(f.cert, "CERTIFICATE", cert.Certificate[0])
	return cert.Leaf.SerialNumber.Text(16), func() { f.write(f.key, "PRIVATE KEY", der) }
}

func (f *folder) install(peer string) (serial string) {
	f.t.Helper()
	serial, key := f.issue(peer)
	key()
	return serial
}

func (f *folder) believe(ca *x509.Certificate) {
	f.t.Helper()
	f.write(f.ca, "CERTIFICATE", ca.Raw)
}

// config is a client's that uses the folder.
func (f *folder) config(cfg msgclient.Config) msgclient.Config {
	cfg.CertFile, cfg.KeyFile, cfg.CAFiles = f.cert, f.key, []string{f.ca}
	return cfg
}

// A door is a service's OnConnect that takes note of the certificates it sees, and
// may refuse one.
type door struct {
	mu sync.Mutex
	// Guarded by mu.
	serials []string
	refused string
	tries   []time.Time // of the one that is refused
}

func (d *door) OnConnect(_ context.Context, c *msgbus.Conn) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.Peer().Serial == d.refused {
		d.tries = append(d.tries, time.Now())
		return bus.Errorf(bus.CodePermissionDenied, "not yet")
	}
	d.serials = append(d.serials, c.Peer().Serial)
	return nil
}

func (d *door) refuse(serial string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refused = serial
}

func (d *door) so() (serials []string, tries []time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.serials), slices.Clone(d.tries)
}

func (d *door) want(t *testing.T, serials ...string) {
	t.Helper()
	if got, _ := d.so(); !slices.Equal(got, serials) {
		t.Errorf("the service saw certificates %v, want %v", got, serials)
	}
}

// A client whose certificate is renewed moves to a connection that shows the new
// one: a TLS session that was made with the old one is not used any more. Nobody
// else notices.
func TestCertificateIsRenewed(t *testing.T) {
	t.Parallel()
	for name, window := range map[string]time.Duration{"a session": 0, "no session": -1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var d door
				var got ids
				var drops atomic.Int64
				svc := newRoom(func(_ context.Context, _ *msgbus.Conn, m Job) error { got.add(m.ID); return nil })
				svc.OnConnect, svc.Window = d.OnConnect, window
				srv := bustest.NewServer(t, msgbus.Config{}, svc)
				f := newFolder(t)
				f.believe(authority(t, srv))
				first := f.install("agent")
				c := srv.Connect(f.config(msgclient.Config{
					OnDrop:  func(context.Context, *msgclient.Client, error) { drops.Add(1) },
					OnError: func(_ *msgclient.Client, err error) { t.Errorf("OnError: %v", err) },
				}))
				ping(t, c, 1)
				srv.Cut() // the next connection resumes the TLS session
				synctest.Wait()
				ping(t, c, 2)
				time.Sleep(time.Hour)
				d.want(t, first, first)
				name := c.Identity()

				second := f.install("agent")
				for id := range int64(30) { // every second
					send(t, c, id+1)
					time.Sleep(time.Second)
				}
				d.want(t, first, first, second)
				wantResumption(t, c, msgclient.Resumption{Resumed: window == 0})
				ping(t, c, 3)
				if !slices.Equal(got.so(), upTo(30)) || drops.Load() != 1 || c.Identity() != name {
					t.Errorf("got %v, %d drops, identity %s; want 1 to 30, the cut, %s", got.so(), drops.Load(), c.Identity(), name)
				}
				srv.Cut()
				synctest.Wait()
				ping(t, c, 4)
				d.want(t, first, first, second, second)
			})
		})
	}
}

// A new certificate whose key is not there yet cannot be used: the client stays
// where it is, says so once, and moves when the key has come.
func TestCertificateWithoutItsKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var d door
		svc := newRoom(nil)
		svc.OnConnect = d.OnConnect
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		f := newFolder(t)
		f.believe(authority(t, srv))
		first := f.install("agent")
		core, logs := observer.New(zapcore.WarnLevel)
		c := srv.Connect(f.config(msgclient.Config{
			Logger: zap.New(core),
			OnDrop: func(_ context.Context, _ *msgclient.Client, why error) { t.Errorf("OnDrop: %v", why) },
		}))
		second, key := f.issue("agent")
		time.Sleep(10 * time.Minute)
		ping(t, c, 1)
		d.want(t, first)
		told := logs.TakeAll()
		if len(told) != 1 || told[0].Message != "certificate files cannot be used" ||
			!strings.Contains(told[0].ContextMap()["reason"].(string), "client.key is not the key of") {
			t.Errorf("logged %v, want one line that says what is wrong", told)
		}
		key()
		time.Sleep(11 * time.Second)
		d.want(t, first, second)
		if err := os.Remove(f.cert); err != nil { // another fault is another line
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if told := logs.TakeAll(); len(told) != 1 {
			t.Errorf("logged %v, want one line", told)
		}
		ping(t, c, 2)
	})
}

// Files that hold the same certificate in other words, and other CAs, are no reason
// to move.
func TestFilesWithTheSameCertificate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := bustest.NewServer(t, msgbus.Config{}, newRoom(nil))
		f := newFolder(t)
		f.believe(authority(t, srv))
		f.install("agent")
		c := srv.Connect(f.config(msgclient.Config{}))
		text, err := os.ReadFile(f.cert)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{f.cert, f.ca} {
			old, err := os.ReadFile(path)
			if err == nil {
				err = os.WriteFile(path, append([]byte("renewed by nobody\n"), old...), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if now, err := os.ReadFile(f.cert); err != nil || bytes.Equal(now, text) {
			t.Fatalf("the file is the same, %v", err)
		}
		time.Sleep(time.Hour)
		ping(t, c, 1)
		if c.Connects() != 1 {
			t.Errorf("got %d connections, want 1", c.Connects())
		}
	})
}

// A new certificate that the service does not take yet: the client stays, tries
// again after longer and longer, and moves in the end.
func TestRenewalFailsAtFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var d door
		svc := newRoom(nil)
		svc.OnConnect = d.OnConnect
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		f := newFolder(t)
		f.believe(authority(t, srv))
		first := f.install("agent")
		c := srv.Connect(f.config(msgclient.Config{
			OnDrop: func(_ context.Context, _ *msgclient.Client, why error) { t.Errorf("OnDrop: %v", why) },
		}))
		ping(t, c, 0)
		second := f.install("agent")
		d.refuse(second)
		const hours = 2
		time.Sleep(hours * time.Hour)
		ping(t, c, 1)
		d.want(t, first)
		_, tries := d.so()
		// Pauses of 0 to 5 minutes, and 10 s for a look: 2.6 minutes on average.
		if n := len(tries); n < hours*12 || n > hours*48 {
			t.Errorf("got %d attempts in %d hours, want about %d", n, hours, hours*23)
		}
		d.refuse("")
		time.Sleep(6 * time.Minute)
		d.want(t, first, second)
		ping(t, c, 2)
		wantResumption(t, c, msgclient.Resumption{Resumed: true})
	})
}

// A new certificate with another name is somebody else: the service has no session
// of his. The client finishes as who it was, and begins as who it is.
func TestRenewedByAnotherName(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got, told ids
		svc := newRoom(func(ctx context.Context, c *msgbus.Conn, m Job) error {
			time.Sleep(100 * time.Millisecond)
			got.add(m.ID)
			return c.Send(ctx, Note{ID: m.ID})
		})
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		f := newFolder(t)
		f.believe(authority(t, srv))
		f.install("alice")
		c := srv.Client(f.config(msgclient.Config{
			OnDrop:  func(_ context.Context, _ *msgclient.Client, why error) { t.Errorf("OnDrop: %v", why) },
			OnError: func(_ *msgclient.Client, err error) { t.Errorf("OnError: %v", err) },
		}))
		msgclient.On(c, func(_ context.Context, _ *msgclient.Client, m Note) error { told.add(m.ID); return nil })
		bustest.Run(t, c)
		f.install("bob")
		time.Sleep(9 * time.Second)
		const jobs = 30 // three seconds' work
		for id := range int64(jobs) {
			send(t, c, id+1)
		}
		time.Sleep(2 * time.Second)
		send(t, c, jobs+1)
		ping(t, c, 1)
		if name := string(c.Identity()); !strings.HasPrefix(name, "dns:bob/") {
			t.Errorf("got identity %s, want bob's", name)
		}
		time.Sleep(10 * time.Second)
		if !slices.Equal(got.so(), upTo(jobs+1)) || !slices.Equal(told.so(), upTo(jobs+1)) {
			t.Errorf("the service got %v, the client %v; want 1 to %d", got.so(), told.so(), jobs+1)
		}
	})
}

// Run ends while the client moves to its new certificate: it says goodbye, and
// nothing goes on.
func TestRunEndsDuringARenewal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got ids
		connects, moving := 0, make(chan struct{})
		svc := newRoom(func(_ context.Context, _ *msgbus.Conn, m Job) error { got.add(m.ID); return nil })
		svc.OnConnect = func(context.Context, *msgbus.Conn) error {
			if connects++; connects == 2 {
				close(moving)
				time.Sleep(3 * time.Second)
			}
			return nil
		}
		srv := bustest.NewServer(t, msgbus.Config{}, svc)
		f := newFolder(t)
		f.believe(authority(t, srv))
		f.install("agent")
		c := srv.Client(f.config(msgclient.Config{
			OnDrop: func(_ context.Context, _ *msgclient.Client, why error) { t.Errorf("OnDrop: %v", why) },
		}))
		ctx, cancel := context.WithCancelCause(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- c.Run(ctx) }()
		ping(t, c, 1)
		f.install("agent")
		next(t, moving, "the move")
		send(t, c, 1)
		begin, enough := time.Now(), errors.New("enough")
		cancel(enough)
		if err := next(t, ended, "the end of Run"); !errors.Is(err, enough) {
			t.Errorf("Run: got %v", err)
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("Run took %s to end", took)
		}
		synctest.Wait() // for the handler
		if !slices.Equal(got.so(), upTo(1)) {
			t.Errorf("the service got %v, want what was sent before the end", got.so())
		}
	})
}
