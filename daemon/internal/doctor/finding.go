package doctor

import "busd/bus"

// A Level says how bad a finding is.
type Level string

// The levels.
const (
	// OK is as it should be.
	OK Level = "ok"
	// Warn works, but not for ever, or not for everybody.
	Warn Level = "warn"
	// Fail is why there is no connection.
	Fail Level = "fail"
)

// A Step is one of the steps of an examination, in the order in which they are
// taken.
type Step string

// The steps.
const (
	StepURL      Step = "url"
	StepOwn      Step = "own_certificate"
	StepTrust    Step = "ca"
	StepName     Step = "name"
	StepTCP      Step = "tcp"
	StepTLS      Step = "tls"
	StepClock    Step = "clock"
	StepServer   Step = "server_certificate"
	StepAccepted Step = "accepted"
	StepUpgrade  Step = "upgrade"
	StepHello    Step = "hello"
	StepContract Step = "contract"
	StepLatency  Step = "latency"
)

// steps are all of them; the clock is looked at whenever there is a clock to
// compare with.
var steps = []Step{
	StepURL, StepOwn, StepTrust, StepName, StepTCP, StepTLS, StepServer, StepAccepted, StepUpgrade, StepHello, StepContract, StepLatency,
}

// A Finding is what was seen at a step.
type Finding struct {
	Step  Step  `json:"step"`
	Level Level `json:"level"`
	// Code is one of [Codes]: it never changes its meaning.
	Code Code `json:"code"`
	// Seen says it to a person, in one sentence. What a stranger sent may be in
	// it as it came: it must be made visible before it is shown.
	Seen string `json:"seen"`
	// Try is what to do: commands, or short advice.
	Try []string `json:"try,omitempty"`
}

// A Code names a kind of finding, for programs.
type Code string

// A Kind is what is known of all findings of a code.
type Kind struct {
	Code Code
	Step Step // where it is found first; some are found at a later step, too
	// Means is the code of the error that a client gets, by which programs decide
	// how to end; 0 for what is no failure.
	Means bus.Code
}

// Codes returns every kind of finding, in the order of the steps.
// docs/doctor.md explains each.
func Codes() []Kind {
	return []Kind{
		{"url_good", StepURL, 0},

		{"own_good", StepOwn, 0},
		{"own_expires_soon", StepOwn, 0},
		{"own_key_exposed", StepOwn, 0},
		{"own_no_name", StepOwn, 0},
		{"own_is_proxy", StepOwn, 0},
		{"own_none", StepOwn, bus.CodeUnauthenticated},
		{"own_missing", StepOwn, bus.CodeNotFound},
		{"own_unreadable", StepOwn, bus.CodeUnauthenticated},
		{"own_key_differs", StepOwn, bus.CodeUnauthenticated},
		{"own_expired", StepOwn, bus.CodeCertificateExpired},
		{"own_not_yet_valid", StepOwn, bus.CodeCertificateExpired},
		{"own_wrong_use", StepOwn, bus.CodeUnauthenticated},
		{"own_revoked", StepOwn, bus.CodeCertificateRevoked},

		{"ca_good", StepTrust, 0},
		{"ca_system", StepTrust, 0},
		{"ca_expired", StepTrust, 0},
		{"ca_missing", StepTrust, bus.CodeNotFound},
		{"ca_unreadable", StepTrust, bus.CodeUnauthenticated},

		{"name_found", StepName, 0},
		{"name_not_needed", StepName, 0},
		{"name_unknown", StepName, bus.CodeUnavailable},
		{"name_lookup_failed", StepName, bus.CodeUnavailable},

		{"tcp_connected", StepTCP, 0},
		{"tcp_refused", StepTCP, bus.CodeUnavailable},
		{"tcp_unreachable", StepTCP, bus.CodeUnavailable},
		{"tcp_timeout", StepTCP, bus.CodeDeadlineExceeded},
		{"tcp_failed", StepTCP, bus.CodeUnavailable},
		{"proxy_ignored", StepTCP, 0},

		{"tls_good", StepTLS, 0},
		{"tls_plain_http", StepTLS, bus.CodeUnavailable},
		{"tls_not_tls", StepTLS, bus.CodeUnavailable},
		{"tls_silent", StepTLS, bus.CodeDeadlineExceeded},
		{"tls_closed", StepTLS, bus.CodeUnavailable},
		{"tls_old", StepTLS, bus.CodeUnavailable},
		{"tls_no_http1", StepTLS, bus.CodeUnavailable},
		{"tls_no_such_name", StepTLS, bus.CodeUnavailable},
		{"tls_failed", StepTLS, bus.CodeUnavailable},

		{"clock_good", StepClock, 0},
		{"clock_off", StepClock, bus.CodeCertificateExpired},

		{"server_good", StepServer, 0},
		{"server_expires_soon", StepServer, 0},
		{"server_wrong_name", StepServer, bus.CodeUnauthenticated},
		{"server_expired", StepServer, bus.CodeCertificateExpired},
		{"server_not_yet_valid", StepServer, bus.CodeCertificateExpired},
		{"server_chain_expired", StepServer, bus.CodeCertificateExpired},
		{"server_wrong_use", StepServer, bus.CodeUnauthenticated},
		{"server_unknown_ca", StepServer, bus.CodeUnauthenticated},
		{"server_ca_changed", StepServer, bus.CodeUnauthenticated},
		{"server_self_signed", StepServer, bus.CodeUnauthenticated},
		{"server_chain_incomplete", StepServer, bus.CodeUnauthenticated},
		{"server_chain_invalid", StepServer, bus.CodeUnauthenticated},
		{"server_weak", StepServer, bus.CodeUnauthenticated},

		{"accepted", StepAccepted, 0},
		{"refused_unknown_ca", StepAccepted, bus.CodeUnauthenticated},
		{"refused_expired", StepAccepted, bus.CodeCertificateExpired},
		{"refused_revoked", StepAccepted, bus.CodeCertificateRevoked},
		{"refused_required", StepAccepted, bus.CodeUnauthenticated},
		{"refused", StepAccepted, bus.CodeUnauthenticated},

		{"upgraded", StepUpgrade, 0},
		{"not_authenticated", StepUpgrade, bus.CodeUnauthenticated},
		{"forbidden", StepUpgrade, bus.CodePermissionDenied},
		{"unknown_service", StepUpgrade, bus.CodeNotFound},
		{"wrong_version", StepUpgrade, bus.CodeUnsupportedVersion},
		{"redirected", StepUpgrade, bus.CodeUnavailable},
		{"busy", StepUpgrade, bus.CodeResourceExhausted},
		{"bad_gateway", StepUpgrade, bus.CodeUnavailable},
		{"server_error", StepUpgrade, bus.CodeInternal},
		{"not_upgraded", StepUpgrade, bus.CodeUnavailable},
		{"upgrade_silent", StepUpgrade, bus.CodeDeadlineExceeded},
		{"upgrade_closed", StepUpgrade, bus.CodeUnavailable},

		{"welcomed", StepHello, 0},
		{"hello_left_out", StepHello, 0},
		{"not_allowed", StepHello, bus.CodePermissionDenied},
		{"wrong_arguments", StepHello, bus.CodeFailedPrecondition},
		{"stopping", StepHello, bus.CodeGoingAway},
		{"hello_silent", StepHello, bus.CodeDeadlineExceeded},
		{"hello_closed", StepHello, bus.CodeUnavailable},
		{"not_msgbus", StepHello, bus.CodeProtocolError},
		{"hello_refused", StepHello, bus.CodeAborted},

		{"contract_good", StepContract, 0},
		{"contract_breaks", StepContract, bus.CodeSchemaMismatch},
		{"contract_unreadable", StepContract, bus.CodeProtocolError},

		{"latency_good", StepLatency, 0},
		{"latency_high", StepLatency, 0},
		{"latency_none", StepLatency, bus.CodeKeepaliveTimeout},
	}
}

// means returns what a code means for a client.
func (c Code) means() bus.Code {
	for _, kind := range Codes() {
		if kind.Code == c {
			return kind.Means
		}
	}
	return bus.CodeUnknown
}

// A Report is what an examination came to.
type Report struct {
	URL string `json:"url"`
	// Good tells whether a client would be connected: nothing failed.
	Good     bool      `json:"good"`
	Findings []Finding `json:"findings"`
	// NotTried are the steps that were not reached.
	NotTried []Step `json:"not_tried,omitempty"`
}

// Failed returns the first finding that is a failure, and the code of the error
// that a client gets for it; nil: there is none.
func (r *Report) Failed() (*Finding, bus.Code) {
	for i := range r.Findings {
		if f := &r.Findings[i]; f.Level == Fail {
			return f, f.Code.means()
		}
	}
	return nil, 0
}
