package msgbus_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"busd/access"
	"busd/bus"
	"busd/bustest"
	"busd/msgbus"
	"busd/msgclient"
	"busd/schema"
)

// web makes requests of a server: with the certificate of bustest's default peer,
// or without one.
func web(t *testing.T, srv *bustest.Server, certificate bool) func(method, path, body string, headers ...string) (status int, header http.Header, answer string) {
	t.Helper()
	conf := bustest.ClientTLS(t, bustest.DefaultPeer)
	if !certificate {
		conf.Certificates = nil
	}
	transport := &http.Transport{DialContext: srv.DialContext, TLSClientConfig: conf}
	t.Cleanup(transport.CloseIdleConnections)
	return func(method, path, body string, headers ...string) (int, http.Header, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "https://"+bustest.Host+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i+1 < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		answer, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, resp.Header, string(answer)
	}
}

// The contract is that of messages and methods, wherever it is told.
func TestContractHasMethods(t *testing.T) {
	t.Parallel()
	svc := newOffice(nil)
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	_, header, body := web(t, srv, true)("GET", "/Test/Room", "")
	got, err := schema.Parse([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := got.Method("echo"); !ok || len(got.Messages()) != len(room.Messages()) {
		t.Errorf("by GET: got %s, want the messages and the methods", got)
	}
	if want := `"` + got.Fingerprint() + `"`; header.Get("ETag") != want || got.Fingerprint() == room.Fingerprint() {
		t.Errorf("ETag: got %s, want %s, which is not that of the messages alone", header.Get("ETag"), want)
	}
	c := srv.Connect(msgclient.Config{Schema: room}) // who knows the messages alone fits
	if c.Contract().Fingerprint() != got.Fingerprint() || svc.Schema.Fingerprint() != got.Fingerprint() {
		t.Errorf("by welcome: got %s, want %s", c.Contract(), got)
	}
}

// A service may have methods and no message.
func TestServiceOfMethodsAlone(t *testing.T) {
	t.Parallel()
	svc := &msgbus.Service{Methods: newDesk()}
	if svc.Name() != "Test/Room" {
		t.Errorf("Name: got %q", svc.Name())
	}
	srv := bustest.NewServer(t, msgbus.Config{}, svc)
	c := srv.Connect(msgclient.Config{})
	if result, err := c.Call(t.Context(), "echo", []byte("[1]")); err != nil || string(result) != "[1]" {
		t.Errorf("got %q, %v", result, err)
	}
}

func TestMethodsMustFit(t *testing.T) {
	t.Parallel()
	for name, svc := range map[string]*msgbus.Service{
		"neither schema nor methods": {},
		"methods of another service": {Schema: pingPong, Methods: newDesk()},
		"a rule for no message":      {Methods: newDesk(), Rules: map[string]access.Rule{"Pang": access.Any}},
	} {
		_, err := msgbus.NewServer(msgbus.Config{}, svc)
		wantCode(t, name, err, bus.CodeInvalidArgument)
	}
}

// POST goes to the methods, on the service's path and one below, by whatever name
// the service is called; nothing else does.
func TestMethodsByHTTP(t *testing.T) {
	t.Parallel()
	office, pong := newOffice(nil), newPingPong()
	office.Aliases = []string{"Old/Room"}
	srv := bustest.NewServer(t, msgbus.Config{}, office, pong)
	ask := web(t, srv, true)
	for _, tt := range []struct {
		method, path string
		status       int
		allow, body  string
	}{
		{"POST", "/Test/Room", 200, "", "POST /Test/Room [1]"},
		{"POST", "/Test/Room/echo", 200, "", "POST /Test/Room/echo [1]"},
		{"POST", "/Old/Room", 200, "", "POST /Test/Room [1]"},
		{"POST", "/Old/Room/echo", 200, "", "POST /Test/Room/echo [1]"},
		{"POST", "/Test/Room/echo?x=1", 200, "", "POST /Test/Room/echo [1]"},
		{"POST", "/Test/Room/", 404, "", "not_found"},
		{"POST", "/Test/Room/echo/more", 404, "", "not_found"},
		{"POST", "/Test/Room/ec%68o", 404, "", "not_found"},
		{"POST", "/Test/Room%2Fecho", 404, "", "not_found"},
		{"POST", "/Test", 404, "", "not_found"},
		{"POST", "/echo", 404, "", "not_found"},
		{"PUT", "/Test/Room", 405, "GET, HEAD, POST", "unimplemented"},
		{"GET", "/Test/Room/echo", 405, "POST", "unimplemented"},
		{"POST", "/Framework/PingPong", 405, "GET, HEAD", "unimplemented"},
		{"POST", "/Framework/PingPong/echo", 404, "", "not_found"},
		{"GET", "/Framework/PingPong/echo", 404, "", "not_found"},
	} {
		status, header, body := ask(tt.method, tt.path, "[1]")
		if status != tt.status || header.Get("Allow") != tt.allow || !strings.Contains(body, tt.body) {
			t.Errorf("%s %s: got %d, Allow %q, %s; want %d, %q, %s", tt.method, tt.path, status, header.Get("Allow"), body, tt.status, tt.allow, tt.body)
		}
	}
	if status, _, _ := web(t, srv, false)("POST", "/Test/Room/echo", ""); status != 200 {
		t.Errorf("without a certificate: got %d, want 200: whom they let is the methods' business", status)
	}
}
