package rpcclient_test

import (
	"strings"
	"testing"
	"time"

	"busd/bus"
	"busd/rpc/rpcclient"
)

func TestConfig(t *testing.T) {
	t.Parallel()
	const good = "https://bus.example.org/System/Component"
	for _, tt := range []struct {
		cfg  rpcclient.Config
		want string // of the error; empty: there is none
	}{
		{rpcclient.Config{URL: good}, ""},
		{rpcclient.Config{URLs: []string{good}, FailoverURLs: []string{"https://other.example.org:1/System/Component"}}, ""},
		{rpcclient.Config{FailoverURLs: []string{good}}, ""},
		{rpcclient.Config{URL: "wss://[::1]:9/System/Component"}, ""},
		{rpcclient.Config{}, "a URL is required"},
		{rpcclient.Config{URL: "http://bus.example.org/System/Component"}, "want https://"},
		{rpcclient.Config{URL: "https:///System/Component"}, "want https://"},
		{rpcclient.Config{URL: "https://u:secret@bus.example.org/System/Component"}, "want https://"},
		{rpcclient.Config{URL: good + "?x=1"}, "want https://"},
		{rpcclient.Config{URL: good + "/"}, "path: want System/Component"},
		{rpcclient.Config{URL: "https://bus.example.org/System"}, "path: want System/Component"},
		{rpcclient.Config{URL: "https://bus.example.org:port/System/Component"}, "cannot be read"},
		{rpcclient.Config{URL: good, URLs: []string{"wss://bus.example.org/System/Component"}}, "addresses of one service"},
		{rpcclient.Config{URL: good, URLs: []string{"https://bus.example.org/System/Other"}}, "addresses of one service"},
		{rpcclient.Config{URL: good, Timeout: -time.Second}, "Timeout"},
		{rpcclient.Config{URL: good, MaxAnswer: -1}, "MaxAnswer"},
		{rpcclient.Config{URL: good, Host: true, Group: "g"}, "want Host or Group"},
		{rpcclient.Config{URL: good, Forward: &rpcclient.Forward{DN: "/CN=x"}}, "want a DN and a group"},
		{rpcclient.Config{URL: "wss://bus.example.org/System/Component", Host: true}, "need https://"},
		{rpcclient.Config{URL: "wss://bus.example.org/System/Component", Token: "t"}, "a token needs https://"},
		{rpcclient.Config{URL: good, CertPEM: []byte("x")}, "CertPEM"},
		{rpcclient.Config{URL: good, CAPEM: []byte("x")}, "CAPEM holds no certificate"},
	} {
		c, err := rpcclient.New(tt.cfg)
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%v: %v", tt.cfg.URL, err)
		case tt.want == "":
			if got := c.Service(); got != "System/Component" {
				t.Errorf("service: got %s", got)
			}
			if err := c.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		case err == nil || !strings.Contains(err.Error(), tt.want) || bus.CodeOf(err) != bus.CodeInvalidArgument:
			t.Errorf("%v: got %v, want %q", tt.cfg.URL, err, tt.want)
		case strings.Contains(err.Error(), "secret"):
			t.Errorf("the error tells the password: %v", err)
		}
	}
}
