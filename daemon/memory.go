package daemon

import (
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"busd/daemon/internal/admin"
	"busd/daemon/internal/config"
	"busd/daemon/internal/memory"
)

// Whoever is turned away where memory is short is told to come back after
// shedRetry, and up to shedJitter more, so that not all come at once.
const (
	shedRetry  = 2 * time.Second
	shedJitter = 8 * time.Second
)

// limitMemory tells Go's runtime how much memory the process may use.
func limitMemory(c *config.Config, environ []string) memory.Limit {
	var gomemlimit string
	for _, variable := range environ {
		if value, ok := strings.CutPrefix(variable, "GOMEMLIMIT="); ok {
			gomemlimit = value
		}
	}
	return memory.SetLimit(int64(c.Limits.Memory), gomemlimit, os.DirFS("/"))
}

// newGuard makes what watches the memory: sessions of slow clients are what can be
// given up.
func (s *server) newGuard() *memory.Guard {
	return memory.NewGuard(memory.Config{
		Limit: s.limit.Bytes,
		Relieve: func(bytes int64) (int, int64) {
			n, freed := s.bus.DropSlowest(int(min(bytes, math.MaxInt)))
			return n, int64(freed)
		},
		Report: s.memoryChanged,
	})
}

func (s *server) memoryChanged(e memory.Event) {
	used, limit := zap.Int64("used", e.Used), zap.Int64("limit", e.Limit)
	switch {
	case e.Cut > 0:
		s.logs.Warn("memory is short: the slowest clients are given up", used, limit, zap.Int("sessions", e.Cut), zap.Int64("freed", e.Freed))
	case e.Level == memory.Easy:
		s.logs.Info("there is memory again: connections and calls are taken", used, limit)
	default:
		s.logs.Warn("memory is short: new connections and calls are refused", used, limit)
	}
}

// memory is what operators see of it.
func (s *server) memory() admin.Memory {
	m := s.guard.Stats()
	return admin.Memory{Used: m.Used, Limit: m.Limit, Short: m.Level >= memory.Shedding, Cut: m.Cut}
}

// shedding answers 503 while memory is short: to upgrades and calls alike, before
// anything is kept of them. Connections that are there go on.
type shedding struct {
	short func() bool
	log   *zap.Logger
	next  http.Handler

	refused *atomic.Uint64 // counts them
}

// ServeHTTP answers requests.
func (h *shedding) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !h.short() {
		h.next.ServeHTTP(w, r)
		return
	}
	h.refused.Add(1)
	h.log.Info("request refused", zap.String("remote", r.RemoteAddr), zap.String("reason", shedReason))
	after := shedRetry + rand.N(shedJitter) //nolint:gosec // not a secret
	w.Header().Set("Retry-After", strconv.Itoa(int(after/time.Second)))
	w.Header().Set("Connection", "close") // its memory too
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = w.Write([]byte(shedBody)) // a client that has gone is its own loss
}

const (
	shedReason = "memory"
	shedBody   = `{"code":"resource_exhausted","reason":"the server is short of memory: try again later"}` + "\n"
)
