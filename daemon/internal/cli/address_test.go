package cli

import (
	"net/url"
	"strings"
	"testing"
)

func TestAddress(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ text, base, want string }{
		{"wss://bus.example.org:9000/Framework/PingPong", "", "wss://bus.example.org:9000/Framework/PingPong"},
		{"wss://bus.example.org/Framework/PingPong", "wss://other:1", "wss://bus.example.org:8443/Framework/PingPong"},
		{"https://bus.example.org/Framework/PingPong", "", "wss://bus.example.org:8443/Framework/PingPong"},
		{"localhost:9000/Framework/PingPong", "", "wss://localhost:9000/Framework/PingPong"},
		{"bus.example.org/Framework/PingPong", "", "wss://bus.example.org:8443/Framework/PingPong"},
		{"[::1]:9000/Framework/PingPong", "", "wss://[::1]:9000/Framework/PingPong"},
		{"wss://[::1]/Framework/PingPong", "", "wss://[::1]:8443/Framework/PingPong"},
		{"Framework/PingPong", "", "wss://localhost:8443/Framework/PingPong"},
		{"Framework/PingPong", "wss://bus.example.org:9000", "wss://bus.example.org:9000/Framework/PingPong"},
		{"Framework/PingPong", "bus.example.org", "wss://bus.example.org:8443/Framework/PingPong"},
		{"Framework/PingPong", "wss://bus.example.org/Some/Other", "wss://bus.example.org:8443/Framework/PingPong"},
	} {
		if got, err := address(test.text, test.base); err != nil || got != test.want {
			t.Errorf("%s at %q: got %q, %v, want %q", test.text, test.base, got, err, test.want)
		}
	}
}

func TestAddressRefuses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ text, base, want string }{
		{"", "", "not the URL of a service"},
		{"PingPong", "", `"PingPong" names no service: want System/Component`},
		{"localhost:8443", "", "want System/Component"},
		{"localhost:8443/Framework", "", "want System/Component"},
		{"localhost:8443/Framework/PingPong/", "", "want System/Component"},
		{"localhost:8443/Framework/PingPong/echo", "", "want System/Component"},
		{"localhost:8443/Framework/Ping%50ong", "", "want System/Component"},
		{"ws://localhost/Framework/PingPong", "", "TLS only"},
		{"http://localhost/Framework/PingPong", "", "TLS only"},
		{"amqp://localhost/Framework/PingPong", "", `no scheme "amqp"`},
		{"wss://user@localhost/Framework/PingPong", "", "not the URL of a service"},
		{"wss://localhost/Framework/PingPong?x=1", "", "not the URL of a service"},
		{"wss:///Framework/PingPong", "", "not the URL of a service"},
		{"Framework/PingPong", "&::::", "BUSD_URL"},
		{"::::/Framework/PingPong", "", "not the URL of a service"},
		{"Framework/PingPong", "ws://localhost", "BUSD_URL"},
	} {
		got, err := address(test.text, test.base)
		if err == nil || !strings.Contains(err.Error(), test.want) || exitOf(err) != exitUsage {
			t.Errorf("%q at %q: got %q, %v, want an error of usage with %q", test.text, test.base, got, err, test.want)
		}
	}
}

func FuzzAddress(f *testing.F) {
	f.Add("Framework/PingPong", "")
	f.Add("[::1]:8443/Framework/PingPong", "wss://localhost")
	f.Fuzz(func(t *testing.T, text, base string) {
		got, err := address(text, base)
		if err != nil {
			return
		}
		u, err := url.Parse(got)
		if err != nil || u.Scheme != "wss" || u.Port() == "" {
			t.Fatalf("address(%q, %q) = %q: want wss://host:port/…, %v", text, base, got, err)
		}
		if again, err := address(got, ""); err != nil || again != got {
			t.Fatalf("address(%q) = %q, %v: want itself", got, again, err)
		}
	})
}
