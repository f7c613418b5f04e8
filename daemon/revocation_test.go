package daemon

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"busd/bus"
	"busd/daemon/internal/admin"
	"busd/daemon/internal/cli"
	"busd/internal/mtls"
	"busd/msgclient"
	"busd/rpc/rpcclient"
)

// A registrar is the CA of a busd that runs in development mode.
type registrar struct {
	r      *running
	ca     *mtls.Authority
	number int64
}

func (r *running) registrar() *registrar {
	r.t.Helper()
	cert, err := os.ReadFile(r.file("ca.crt"))
	r.must(err)
	key, err := os.ReadFile(r.file("ca.key"))
	r.must(err)
	ca, err := mtls.LoadAuthority(cert, key)
	r.must(err)
	return &registrar{r: r, ca: ca}
}

// leaf reads a development client's certificate.
func (r *running) leaf(name string) *x509.Certificate {
	r.t.Helper()
	cert, err := os.ReadFile(r.file("client-" + name + ".crt"))
	r.must(err)
	key, err := os.ReadFile(r.file("client-" + name + ".key"))
	r.must(err)
	m, err := tlsPair(cert, key)
	r.must(err)
	return m
}

// revoke writes the next list to a file.
func (g *registrar) revoke(path string, certs ...*x509.Certificate) {
	g.r.t.Helper()
	g.number++
	var entries []x509.RevocationListEntry
	for _, cert := range certs {
		entries = append(entries, x509.RevocationListEntry{SerialNumber: cert.SerialNumber, RevocationTime: time.Now()})
	}
	list, _, err := g.ca.RevocationList(g.number, time.Hour, entries)
	g.r.must(err)
	g.r.must(mtls.WriteFiles(true, mtls.File{Path: path, Data: list}))
}

// runs connects a client and returns what Run comes to.
func (r *running) runs(c *msgclient.Client) <-chan error {
	r.t.Helper()
	if err := c.Connect(r.t.Context()); err != nil {
		r.t.Fatalf("connect: %v; log:\n%s", err, r.log)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Run(r.t.Context()) }() // ends with the test
	return ended
}

// isRevoked waits for the end of a client, which must be soon and for good.
func isRevoked(t *testing.T, what string, ended <-chan error) {
	t.Helper()
	select {
	case err := <-ended:
		if e := bus.AsError(err); e.Code != bus.CodeCertificateRevoked || e.Retry.When != bus.RetryNever {
			t.Errorf("%s: got %v, want certificate_revoked, never", what, err)
		}
	case <-time.After(5 * time.Second):
		t.Errorf("%s: still connected after 5 s", what)
	}
}

// A list of revoked certificates that changes is seen without anybody's doing:
// whoever is on it is gone within 5 s, on stable connections and at the next call
// over HTTPS, also where his TLS session could be resumed; nobody else notices.
func TestRevokedByAList(t *testing.T) {
	t.Parallel()
	list := filepath.Join(t.TempDir(), "ca.crl")
	svc, entered, _ := newCalls("Test/One")
	first := start(t, "", cli.ServeOptions{Dev: true}, newService("Test/One", nil)) // makes the CA
	g := first.registrar()
	g.revoke(list)
	r := start(t, tlsOf(first, "off")+"  crl: ["+list+"]\nlisteners: [{address: \"127.0.0.1:0\"}]\n"+
		"services: {Test/One: {access: {default: [authenticated]}}}\n", cli.ServeOptions{}, svc)
	r.dir = first.dir
	ended := r.runs(r.clientWith("alice", "Test/One", msgclient.Config{}))
	drops := make(chan error, 10)
	r.connected("bob", "Test/One", func(why error) { drops <- why })
	kept := r.https("alice")
	call := func() (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+r.bus+"/Test/One/add", strings.NewReader("[1, 2]"))
		r.must(err)
		req.Header.Set("Content-Type", "application/json")
		resp, err := kept.RoundTrip(req)
		if err != nil {
			return 0, err.Error()
		}
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		r.must(err)
		return resp.StatusCode, string(data)
	}
	if status, body := call(); status != http.StatusOK {
		t.Fatalf("call: got %d %s", status, body)
	}

	running := make(chan error, 1)
	long := r.caller(r.bus, "alice", "Test/One")
	go func() { // ends with its caller at the latest
		_, err := rpcclient.Call[string](t.Context(), long, "wait")
		running <- err
	}()
	<-entered

	g.revoke(list, r.leaf("alice"))
	isRevoked(t, "alice", ended)
	select {
	case err := <-running:
		if err == nil {
			t.Error("a call that ran was answered")
		}
	case <-time.After(5 * time.Second):
		t.Error("a call that ran goes on after 5 s")
	}
	if status, body := call(); status != http.StatusUnauthorized || !strings.Contains(body, "certificate_revoked") {
		t.Errorf("the next call on the same connection: got %d %s, want 401 certificate_revoked", status, body)
	}
	kept.CloseIdleConnections()
	if status, text := call(); status != 0 {
		t.Errorf("a call on the next connection: got %d %s, want that TLS refuses it", status, text)
	}
	r.metricIs(t, `busd_drops_total{code="certificate_revoked",service="Test/One"} 1`)
	r.metricIs(t, `busd_connections{service="Test/One"} 1`)
	r.metricIs(t, `busd_crls{state="good"} 1`)
	r.metricIs(t, `busd_crl_revoked_certificates 1`)
	r.metricIs(t, `busd_handshakes_total{result="revoked"} 1`)
	line := r.log.wait(t, "certificate revoked")
	if line["identity"] != "dns:alice/test" {
		t.Errorf("the log says %v, want who it was", line)
	}

	// A broken list is told, counted, and changes nothing.
	r.must(os.WriteFile(list, []byte("-----BEGIN X509 CRL-----\n"), 0o600))
	r.log.wait(t, "certificate files cannot be used, the last good ones are")
	r.metricIs(t, `busd_certificate_files_failing 1`)
	r.metricIs(t, `busd_certificate_reloads_total{result="failed"} 1`)
	if status, _ := r.get("/readyz"); status != http.StatusOK {
		t.Errorf("/readyz: got %d, want 200: what was there is in use", status)
	}
	if status, _ := call(); status != 0 {
		t.Error("with a broken list a revoked certificate is good again")
	}
	r.reload <- struct{}{}
	r.log.wait(t, "configuration not reloaded, what ran before goes on")
	if status, _ := r.get("/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("/readyz after a reload that failed: got %d, want 503", status)
	}
	if len(drops) != 0 {
		t.Errorf("bob was dropped: %v", <-drops)
	}
}

// deny changes the deny list as busd deny does.
func (r *running) deny(path string, d admin.Denial) (status int, o admin.DenyOutcome) {
	r.t.Helper()
	body, err := json.Marshal(d)
	r.must(err)
	request, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, "http://"+r.admin+path, bytes.NewReader(body))
	r.must(err)
	request.Close = true
	resp, err := http.DefaultTransport.RoundTrip(request)
	r.must(err)
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		r.must(json.NewDecoder(resp.Body).Decode(&o))
	}
	return resp.StatusCode, o
}

// The deny list is changed by a reload of the configuration, and by an operator's
// command, which is kept over a restart.
func TestDenied(t *testing.T) {
	t.Parallel()
	kept := filepath.Join(t.TempDir(), "denied.json")
	r := start(t, "tls: {deny_file: "+kept+"}\n", cli.ServeOptions{Dev: true}, newService("Test/One", nil))
	alice := r.runs(r.clientWith("alice", "Test/One", msgclient.Config{}))
	bob := r.runs(r.clientWith("bob", "Test/One", msgclient.Config{}))

	r.write("busd.yaml", "tls: {deny_file: "+kept+", deny: [{name: \"dns:ali*\"}]}\n")
	r.reload <- struct{}{}
	isRevoked(t, "alice", alice)
	if err := r.newClient("alice", "Test/One", nil).Connect(t.Context()); bus.CodeOf(err) != bus.CodeUnauthenticated {
		t.Errorf("alice again: got %v, want that TLS refuses her", err)
	}
	r.write("busd.yaml", "tls: {deny_file: "+kept+", deny: [{name: \"*\"}]}\n")
	r.reload <- struct{}{}
	line := r.log.wait(t, "configuration not reloaded, what ran before goes on")
	if !strings.Contains(fmt.Sprint(line["faults"]), "tls.deny[0]: name \"*\": that would be everybody") {
		t.Errorf("got %v, want that the entry is refused", line["faults"])
	}

	leaf := r.leaf("bob")
	status, o := r.deny("/deny", admin.Denial{Serial: leaf.SerialNumber.Text(16), Issuer: "/CN=" + leaf.Issuer.CommonName, Note: "lost"})
	if status != http.StatusOK || o != (admin.DenyOutcome{Changed: true, Persistent: true, Connections: 1, Sessions: 1}) {
		t.Errorf("got %d, %+v, want one connection and session ended", status, o)
	}
	isRevoked(t, "bob", bob)
	r.metricIs(t, "busd_deny_entries 2")
	if status, _ := r.deny("/deny", admin.Denial{Serial: "1"}); status != http.StatusBadRequest {
		t.Errorf("nonsense: got %d, want 400", status)
	}
	if status, _ := r.deny("/deny/remove", admin.Denial{Name: "dns:ali*"}); status != http.StatusConflict {
		t.Errorf("an entry of the configuration: got %d, want 409", status)
	}

	again := start(t, tlsOf(r, "off")+"  deny_file: "+kept+"\nlisteners: [{address: \"127.0.0.1:0\"}]\n", cli.ServeOptions{}, newService("Test/One", nil))
	again.dir = r.dir
	if err := again.newClient("bob", "Test/One", nil).Connect(t.Context()); bus.CodeOf(err) != bus.CodeUnauthenticated {
		t.Errorf("bob after a restart: got %v, want that TLS refuses him", err)
	}
	// What one process denies, another that uses the file denies too.
	alice = again.runs(again.clientWith("alice", "Test/One", msgclient.Config{}))
	if status, _ := r.deny("/deny", admin.Denial{Name: "dns:alice"}); status != http.StatusOK {
		t.Fatalf("got %d", status)
	}
	isRevoked(t, "alice at the other process", alice)
	if status, o := again.deny("/deny/remove", admin.Denial{Name: "dns:alice"}); status != http.StatusOK || !o.Changed {
		t.Errorf("got %d, %+v, want it removed", status, o)
	}
	again.client("alice", "Test/One")
}

// A certificate of a few seconds: its holder is asked to move in time, and moves to
// the renewed one; who has none, or one that cannot be used, keeps his connection
// to the end, and is told why it ends.
func TestExpires(t *testing.T) {
	t.Parallel()
	const life = 10 * time.Second
	r := start(t, "", cli.ServeOptions{Dev: true}, newService("Test/One", nil))
	g := r.registrar()
	issue := func(name string, validity time.Duration) {
		issued, err := g.ca.Issue(mtls.Request{Name: name, DNS: []string{name}, Client: true, NotBefore: time.Now().Truncate(time.Second), Validity: validity})
		r.must(err)
		key, err := issued.KeyPEM()
		r.must(err)
		r.must(mtls.WriteFiles(true, mtls.File{Path: r.file("client-" + name + ".crt"), Data: issued.CertPEM()},
			mtls.File{Path: r.file("client-" + name + ".key"), Data: key, Secret: true}))
	}
	names := []string{"renewed", "not-renewed", "broken"}
	drops := map[string]chan error{}
	clients := map[string]*msgclient.Client{}
	begin := time.Now()
	for _, name := range names {
		issue(name, life)
		drops[name] = make(chan error, 100)
		clients[name] = r.connected(name, "Test/One", func(why error) { drops[name] <- why })
	}
	issue("renewed", time.Hour)
	r.must(os.WriteFile(r.file("client-broken.crt"), []byte("half"), 0o600))
	for _, name := range names[1:] {
		select {
		case why := <-drops[name]:
			took := time.Since(begin)
			if bus.CodeOf(why) != bus.CodeCertificateExpired || took < life*4/5 || took > life+time.Second {
				t.Errorf("%s: dropped after %s: %v, want certificate_expired as the %s are over", name, took, why, life)
			}
		case <-time.After(waitTime):
			t.Errorf("%s: still connected", name)
		}
	}
	if _, err := msgclient.Request[pong](t.Context(), clients["renewed"], ping{ID: 1}); err != nil || len(drops["renewed"]) > 0 {
		t.Errorf("renewed: got %v, %d drops, want that nothing has happened", err, len(drops["renewed"]))
	}
}

// A hundredth of many connections is revoked together: all of these are gone
// within 5 s, and of the others none. With BUSD_SOAK set there are 10,000, as far as
// open files allow: two for each.
func TestManyRevoked(t *testing.T) {
	all := 400
	switch {
	case os.Getenv("BUSD_SOAK") != "":
		all = min(10_000, (mayOpen()-500)/2/100*100)
	case testing.Short():
		all = 100
	}
	list := filepath.Join(t.TempDir(), "ca.crl")
	first := start(t, "", cli.ServeOptions{Dev: true}, newService("Test/One", nil))
	g := first.registrar()
	g.revoke(list)
	r := start(t, tlsOf(first, "off")+"  crl: ["+list+"]\nlisteners: [{address: \"127.0.0.1:0\"}]\n"+
		"limits: {new_per_address: 100000, unauthenticated_per_address: 1000}\n"+
		"services: {Test/One: {access: {default: [authenticated]}}}\n", cli.ServeOptions{}, newService("Test/One", nil))
	f := &fleet{r: r, ca: g.ca, drops: make(chan drop, 2*all)}
	defer f.close()
	f.connect(t, all)
	var bad []*x509.Certificate
	for i := 0; i < all; i += 100 {
		bad = append(bad, f.certs[i])
	}
	began := time.Now()
	g.revoke(list, bad...)
	limit := time.After(5 * time.Second)
	for n := range bad {
		select {
		case d := <-f.drops:
			if d.agent%100 != 0 || bus.CodeOf(d.why) != bus.CodeCertificateRevoked {
				t.Fatalf("agent %d was dropped: %v", d.agent, d.why)
			}
		case <-limit:
			t.Fatalf("%d of %d are gone after 5 s", n, len(bad))
		}
	}
	t.Logf("%d of %d connections were revoked and gone after %s", len(bad), all, time.Since(began))
	// The others still answer, on the connections that they had.
	f.everybody(t, func(i int, c *msgclient.Client) {
		if i%100 == 0 {
			return
		}
		if _, err := msgclient.Request[pong](t.Context(), c, ping{ID: int64(i)}); err != nil {
			t.Errorf("agent %d: %v", i, err)
		}
	})
	if len(f.drops) > 0 {
		d := <-f.drops
		t.Errorf("agent %d was dropped: %v", d.agent, d.why)
	}
	r.metricIs(t, fmt.Sprintf(`busd_connections{service="Test/One"} %d`, all-len(bad)))
}

// A fleet is many clients, each with a certificate of its own.
type fleet struct {
	r      *running
	ca     *mtls.Authority
	certs  []*x509.Certificate
	agents []*msgclient.Client
	drops  chan drop
	stop   []func()
}

type drop struct {
	agent int
	why   error
}

func (f *fleet) connect(t *testing.T, n int) {
	t.Helper()
	f.certs, f.agents, f.stop = make([]*x509.Certificate, n), make([]*msgclient.Client, n), make([]func(), n)
	roots := x509.NewCertPool()
	roots.AddCert(f.ca.Certificate())
	work := make(chan int)
	var hands sync.WaitGroup
	for range 16 {
		hands.Go(func() {
			for i := range work {
				if err := f.add(t.Context(), i, roots); err != nil {
					t.Errorf("agent %d: %v", i, err)
				}
			}
		})
	}
	for i := range n {
		work <- i
	}
	close(work)
	hands.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

func (f *fleet) add(ctx context.Context, i int, roots *x509.CertPool) error {
	issued, err := f.ca.Issue(mtls.Request{Name: "agent", DNS: []string{fmt.Sprint("agent-", i)}, Client: true})
	if err != nil {
		return err
	}
	f.certs[i] = issued.Certificate
	c, err := msgclient.New(msgclient.Config{
		URL: "wss://" + f.r.bus + "/Test/One", Instance: "test", TLS: clientTLS(issued.TLS(), roots),
		OnDrop: func(_ context.Context, _ *msgclient.Client, why error) { f.drops <- drop{i, why} },
	})
	if err != nil {
		return err
	}
	f.agents[i] = c
	if err := c.Connect(ctx); err != nil {
		return err
	}
	running, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = c.Run(running) // OnDrop says what there is to say
	}()
	f.stop[i] = func() { cancel(); <-ended }
	return nil
}

// everybody does something with each agent, some at a time.
func (f *fleet) everybody(t *testing.T, do func(i int, c *msgclient.Client)) {
	t.Helper()
	var all sync.WaitGroup
	turns := make(chan struct{}, 32)
	for i, c := range f.agents {
		turns <- struct{}{}
		all.Go(func() {
			defer func() { <-turns }()
			do(i, c)
		})
	}
	all.Wait()
}

func (f *fleet) close() {
	for _, stop := range f.stop {
		if stop != nil {
			go stop()
		}
	}
	for _, stop := range f.stop {
		if stop != nil {
			stop()
		}
	}
}

// A configuration that names what cannot be used is refused as a whole, with the
// places.
func TestCheckOfRevocation(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "pki")
	openPKI(t, dir)
	if err := os.WriteFile(filepath.Join(dir, "bad.json"), []byte(`[{"serial": "1"}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	const files = "tls: {certificate: server.crt, key: server.key, client_ca: [ca.crt]"
	for said, want := range map[string]string{
		"crl: [none.crl]":                         "tls.crl: CRL file DIR/none.crl: no such file or directory",
		"crl: [ca.crt]":                           "tls.crl: CRL file DIR/ca.crt: it holds a certificate: want a list of revoked certificates",
		"crl: [empty]":                            "",
		"stale_crl: hope":                         "tls.stale_crl: want keep or refuse, got \"hope\"",
		"deny: [{name: x}, {serial: \"1\"}]":      "tls.deny[1]: serial 1: want the issuer, too",
		"deny: [{serial: 12, issuer: \"/CN=x\"}]": "tls.deny[0].serial: want a text, got a number (put 12 in quotes)",
		"deny: [{who: x}]":                        "there is no such key",
		"deny_file: bad.json":                     "tls.deny_file: deny file DIR/bad.json: entry 1: serial 1",
		"deny_file: empty":                        "tls.deny_file: deny file DIR/empty: it is not a regular file",
		"deny_file: new.json":                     "",
	} {
		_, _, err := checkIn(t, dir, files+", "+said+"}\n", newService("Test/One", nil))
		text := ""
		if err != nil {
			text = strings.ReplaceAll(err.Error(), dir, "DIR")
		}
		if (err != nil) != (want != "") || !strings.Contains(text, want) {
			t.Errorf("%s: got %q, want %q", said, text, want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "new.json")); err == nil {
		t.Error("a check has written the deny file")
	}
}
