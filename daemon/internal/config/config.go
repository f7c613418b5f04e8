package config

import (
	"net/netip"
	"time"
)

// Config is a configuration with all defaults filled in. The tags are the
// table of keys:
//
//	key      the key's name in the file; "*" is a field that the name itself
//	         goes into, of things that are found by a name of the operator's
//	default  as it would be written in the file; none: there is no default
//	doc      what it is for
//	form     what a text must look like: address, place, name, origin, file,
//	         store; place and store may be off, which is empty
//	words    the words that are allowed
//	min, max bounds, in the form of the default
//	order    "yes": of things with names, their order counts
//	auto     the word auto is allowed, and is 0
//	live     "yes": a reload applies it
//	program  "yes": where it is not said, the program's own value holds, and
//	         the field is zero
type Config struct {
	Node      Node               `key:"node"`
	Listeners []Listener         `key:"listeners"`
	Admin     Admin              `key:"admin"`
	TLS       TLS                `key:"tls"`
	Auth      Auth               `key:"auth"`
	Access    Access             `key:"access"`
	Services  map[string]Service `key:"services"`
	Limits    Limits             `key:"limits"`
	Deny      []netip.Prefix     `key:"deny" default:"[]" live:"yes" doc:"networks (10.1.0.0/16) and addresses whose connections are closed when accepted"`
	KeepAlive KeepAlive          `key:"keep_alive"`
	Timeouts  Timeouts           `key:"timeouts"`
	Origins   []string           `key:"origins" default:"[]" form:"origin" doc:"web pages that may open a stable connection and call methods (https://host:port); agents send no Origin header and need no entry"`
	Log       Log                `key:"log"`
	Shutdown  Shutdown           `key:"shutdown"`

	// origins tells where each key that was said was said.
	origins map[string]origin
}

// Node is what this process calls itself.
type Node struct {
	Name string `key:"name" default:"\"\"" form:"name" doc:"what this node calls itself in welcomes and metrics; empty is no name"`
}

// Listener is one address that is listened on.
type Listener struct {
	Address           string `key:"address" default:":8443" form:"address" doc:"host:port; without a host, all addresses of the machine"`
	ClientCertificate string `key:"client_certificate" default:"ask" words:"ask|require" doc:"require: without a client certificate the handshake fails; ask: it succeeds, and what needs one is answered 401"`
	// Services is empty for all.
	Services []string `key:"services" default:"[]" doc:"the services that are served here; [] is all of them"`
}

// Admin is the operators' listener.
type Admin struct {
	Address string `key:"address" default:"127.0.0.1:8444" form:"place" doc:"host:port of health, readiness and metrics, and for this machine of draining, in plain HTTP without passwords: keep it on loopback or behind a firewall; off is none"`
}

// TLS is the server's certificate and whom it believes.
type TLS struct {
	Certificate string   `key:"certificate" form:"file" doc:"PEM file: the server's certificate, then the intermediate ones"`
	Key         string   `key:"key" form:"file" doc:"PEM file with its private key; only its owner may read it"`
	ClientCA    []string `key:"client_ca" form:"file" doc:"PEM files of the CAs that sign clients' certificates"`
	CRL         []string `key:"crl" default:"[]" form:"file" doc:"lists of revoked certificates (CRLs), PEM or DER files, or directories of them (*.r0, *.crl, *.pem): whoever is on one is refused, and loses his connections; looked at every 2 s"`
	StaleCRL    string   `key:"stale_crl" default:"keep" words:"keep|refuse" doc:"when a list of crl is out of date: keep: it counts as it is, and busd complains; refuse: clients whose issuer has no list in date are refused, also where there never was one"`
	Deny        []Denied `key:"deny" default:"[]"`
	DenyFile    string   `key:"deny_file" default:"off" form:"store" doc:"file that keeps what busd deny adds; made if it is not there; off: it is forgotten at a restart"`
	PeerName    []string `key:"peer_name" default:"[auto]" words:"auto|spiffe|uri|dns|email|cn|dn" doc:"which part of a client's certificate is its name; of several the first that it has; auto: all, in this order"`
	// SessionTickets is empty if they are in memory.
	SessionTickets string `key:"session_tickets" default:"off" form:"store" doc:"file that keeps the keys of TLS session tickets, so that clients resume after a restart; made if it is not there; as secret as a CA's key; off keeps them in memory"`
}

// Denied is an entry of the deny list: certificates that all it says is true of
// are as good as revoked.
type Denied struct {
	Serial string `key:"serial" default:"\"\"" live:"yes" doc:"of certificates that are denied, the serial number in hexadecimal; beside it their issuer; an entry denies what all it says is true of"`
	Issuer string `key:"issuer" default:"\"\"" live:"yes" doc:"who issued them, as busd pki show prints it (/C=ch/O=DIRAC/CN=CA); alone: all that he issued"`
	Key    string `key:"key" default:"\"\"" live:"yes" doc:"the SHA-256 of their public key: sha256: and 64 hexadecimal digits"`
	Name   string `key:"name" default:"\"\"" live:"yes" doc:"the peer's name, or the subject as busd pki show prints it; * stands for anything, also in the middle"`
}

// Service is what an operator may say of a service. Zero and nil leave it to
// the program.
type Service struct {
	Enabled        bool  `key:"enabled" default:"true" doc:"false: the service is not served"`
	MaxConnections int   `key:"max_connections" default:"50000" max:"10000000" program:"yes" doc:"stable connections of the service"`
	MaxMessage     Size  `key:"max_message" default:"256KiB" min:"1KiB" max:"256MiB" program:"yes" doc:"a message from a client, in bytes on the wire; at most a quarter of credit"`
	Credit         Size  `key:"credit" default:"1MiB" min:"4KiB" max:"1GiB" program:"yes" doc:"what may wait for the handlers of one connection"`
	KeepOnError    *bool `key:"keep_on_error" default:"false" program:"yes" doc:"a one-way message that fails leaves its connection open"`
	// Window is 0 for none.
	Window  *time.Duration `key:"window" default:"2m" min:"0s" max:"24h" program:"yes" doc:"how long a session waits for its client to come back; 0 is no sessions: what a cut interrupts is lost, and told so"`
	Methods ServiceMethods `key:"methods"`
	Access  ServiceAccess  `key:"access"`
}

// ServiceMethods bounds the calls of a service's methods. Zero leaves it to the
// program.
type ServiceMethods struct {
	MaxBody       Size          `key:"max_body" default:"1MiB" min:"1KiB" max:"16GiB" program:"yes" doc:"the body of a call, uncompressed; a method may say otherwise in code"`
	MaxConcurrent int           `key:"max_concurrent" default:"256" max:"1000000" program:"yes" doc:"calls that run at a time; a method may have a bound of its own in code, within this"`
	Timeout       time.Duration `key:"timeout" default:"1m" min:"10ms" max:"24h" program:"yes" doc:"how long a call may take; a method may say otherwise in code"`
}

// ServiceAccess says who may use a service, before what the program says: lists
// of words, of which an empty one says nothing.
type ServiceAccess struct {
	Default  []string            `key:"default" default:"[]" form:"rule" live:"yes" program:"yes" doc:"who may send the messages and call the methods that have no rule of their own"`
	Connect  []string            `key:"connect" default:"[]" form:"rule" live:"yes" program:"yes" doc:"who may open a stable connection; where nobody says it, whoever may send one message or call one method"`
	Messages map[string][]string `key:"messages" default:"[]" form:"rule" live:"yes" program:"yes" doc:"who may send this message"`
	Methods  map[string][]string `key:"methods" default:"[]" form:"rule" live:"yes" program:"yes" doc:"who may call this method"`
}

// Limits bound what strangers and clients can make the process hold.
type Limits struct {
	Connections               int  `key:"connections" default:"50000" max:"10000000" doc:"open connections of the process, and stable connections; never more than the limit of open files less 256"`
	ConnectionsPerPeer        int  `key:"connections_per_peer" default:"1024" max:"10000000" doc:"stable connections of one peer (one name in certificates)"`
	Handshakes                int  `key:"handshakes" default:"auto" auto:"yes" max:"100000" doc:"TLS handshakes that compute at the same time; auto is four for each core; the others wait"`
	UnauthenticatedPerAddress int  `key:"unauthenticated_per_address" default:"64" max:"1000000" doc:"connections of one address (one /64 for IPv6) that have shown no good certificate; the others wait"`
	NewPerAddress             int  `key:"new_per_address" default:"200" max:"1000000" doc:"new connections of one address in a second; the others wait"`
	WaitingPerAddress         int  `key:"waiting_per_address" default:"2000" max:"1000000" doc:"connections of one address that wait for the two bounds above; the others are closed"`
	HandshakeSize             Size `key:"handshake_size" default:"48KiB" min:"8KiB" max:"1MiB" doc:"what a client may send in its TLS handshake"`
	HeaderSize                Size `key:"header_size" default:"16KiB" min:"8KiB" max:"1MiB" doc:"the header of an HTTP request"`
	Memory                    Size `key:"memory" default:"auto" auto:"yes" min:"32MiB" max:"1024GiB" doc:"what the process may use, of which Go's runtime is told 80 %; near that new connections and calls are refused, and nearer the slowest clients given up; auto is what the control group or the machine has; GOMEMLIMIT in the environment goes before"`
	SessionMemory             Size `key:"session_memory" default:"64MiB" min:"1MiB" max:"1024GiB" doc:"what sessions keep for clients that are away, a quarter of it for those of one peer; beyond it those end that have kept something for longest"`
}

// KeepAlive finds dead connections.
type KeepAlive struct {
	Interval time.Duration `key:"interval" default:"30s" min:"100ms" max:"24h" doc:"how often clients are told to ping"`
	Idle     time.Duration `key:"idle" default:"75s" min:"200ms" max:"72h" doc:"after how much silence a client is dropped; more than twice interval"`
}

// Timeouts bound what a client may keep waiting.
type Timeouts struct {
	Address   time.Duration `key:"address" default:"10s" min:"1ms" max:"1h" doc:"how long a connection may wait for the bounds of its address before it is closed"`
	Handshake time.Duration `key:"handshake" default:"10s" min:"100ms" max:"1h" doc:"a TLS handshake"`
	Request   time.Duration `key:"request" default:"10s" min:"100ms" max:"1h" doc:"the header of an HTTP request, and its body where no method reads it"`
	Hello     time.Duration `key:"hello" default:"10s" min:"100ms" max:"1h" doc:"from the upgrade to the client's hello, and the service's OnConnect"`
	Idle      time.Duration `key:"idle" default:"60s" min:"100ms" max:"24h" doc:"an HTTP connection between two requests; stable connections: keep_alive"`
}

// Log says what is logged, to standard error.
type Log struct {
	Level  string `key:"level" default:"info" words:"debug|info|warn|error" live:"yes" doc:"the least level that is written"`
	Format string `key:"format" default:"json" words:"json|console" doc:"json for machines, console for people"`
}

// Shutdown is the end.
type Shutdown struct {
	Timeout time.Duration `key:"timeout" default:"30s" min:"10ms" max:"1h" doc:"how long a stop or a drain may take before what is left is cut off"`
}

// Size is a number of bytes.
type Size int
