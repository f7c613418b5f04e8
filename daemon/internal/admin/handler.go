package admin

import (
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Bounds of scraping.
const (
	maxScrapes    = 4
	scrapeTimeout = 10 * time.Second
)

// Handler returns what is shown over HTTP:
//
//	/healthz  200 "ok": the process lives
//	/readyz   200 "ready", or 503 and why new connections are not wanted
//	/metrics  the numbers, for Prometheus
//	/drain    POST drains the program: a [DrainRequest], answered with a line
//	          of [Progress] each second until it is over; from this machine only
//	/deny     the deny list ([Denied]); POST adds a [Denial], POST to /deny/remove
//	          removes one, answered with a [DenyOutcome]; from this machine only
//
// From this machine only is from its loopback address, by a request that names no
// proxy: behind one everybody would be here.
//
// With local set, for a listener on loopback, there is also /debug/pprof/, and
// requests whose Host is a name other than localhost get 421: a browser's page
// must not get here under a name of its own.
func (a *Admin) Handler(local bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		plain(w, http.StatusOK, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := a.Ready(); err != nil {
			plain(w, http.StatusServiceUnavailable, err.Error())
			return
		}
		plain(w, http.StatusOK, "ready")
	})
	mux.Handle("GET /metrics", a.metrics())
	mux.HandleFunc("POST /drain", a.handleDrain)
	if list := a.config.Deny; list != nil {
		mux.HandleFunc("GET /deny", a.handleDenied)
		mux.HandleFunc("POST /deny", a.handleDeny(list.Add))
		mux.HandleFunc("POST /deny/remove", a.handleDeny(list.Remove))
	}
	if !local {
		return mux
	}
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", brief(pprof.Profile))
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", brief(pprof.Trace))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLocal(r.Host) {
			plain(w, http.StatusMisdirectedRequest, notLocal)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// maxProfile bounds how long a profile or a trace may take, in seconds: the server's
// limit on an answer does not hold for these.
const maxProfile = 60

// brief refuses profiles that take too long.
func brief(profile http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if text := r.FormValue("seconds"); text != "" {
			if seconds, err := strconv.ParseFloat(text, 64); err != nil || !(seconds > 0 && seconds <= maxProfile) {
				plain(w, http.StatusBadRequest, fmt.Sprintf("seconds: want more than 0, and at most %d", maxProfile))
				return
			}
		}
		profile(w, r)
	}
}

func (a *Admin) metrics() http.Handler {
	// A registry of its own: what others register is not ours to show.
	registry := prometheus.NewRegistry()
	registry.MustRegister(&collector{admin: a}, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		MaxRequestsInFlight: maxScrapes, Timeout: scrapeTimeout,
	})
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	fmt.Fprintln(w, text)
}

const notLocal = "this listener is for localhost and addresses, not for names"

// isLocal tells whether a Host header is an address or localhost.
func isLocal(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if len(host) > 1 && host[0] == '[' && host[len(host)-1] == ']' {
		host = host[1 : len(host)-1]
	}
	return host == "localhost" || net.ParseIP(host) != nil
}
