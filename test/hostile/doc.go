// Package hostile holds the tests of what busd does with clients that mean it
// harm: scripts of bytes, over TCP and TLS, against a program that was built and
// configured as an operator does it.
//
// The scripts are in testdata, one file for each layer, and say of each attack
// what is sent, how it must end, and within what time. Beside them an innocent
// client makes requests and calls all the time, and new connections: during and
// after each attack it must be answered, and soon. When all is over the server's
// memory, goroutines and files must be what they were, its output whole lines of
// JSON without a panic, and what the scripts planted as secrets nowhere in what it
// has said to its operators.
//
// The other way round, servers of bytes attack our own clients: TestHostileServers and
// TestHostileAnswers.
//
// daemon/internal/hostile has more cases like these, in Go, inside one process,
// where it can look into the gate and shorten every time. What is here goes
// through everything that stands before and behind that: configuration, listeners,
// certificates in files, access, the log and the metrics.
//
// # Scripts
//
// A script is lines. # begins a comment, a \ at the end of a line goes on in the next.
//
//	let NAME = BYTES
//	case T23 a name                  a row of the list of attacks, and what is tried
//	at POINT [CERT] [KEY=VALUE]...   how far an honest client goes first
//	send BYTES                       what is said at that point: inside TLS, if there is one
//	expect END [within DURATION]     how the connection must end
//
// The points are tcp, tls (a request may follow), h2 (the same, of HTTP/2),
// upgraded (to a WebSocket), welcomed (the hello is answered) and sessioned (so that
// the session outlives its line). The certificate is one of pki_ext_test.go's;
// "nobody" is none, and mallory's is shown where none is said. The keys are:
//
//	path=/Test/Bytes       the service; /Framework/PingPong if it is not said
//	to=strict              the listener that demands certificates; to=admin the operators'
//	instance=name          of the hello; else one that nobody has
//	sni=name alpn=a,b      what the handshake says; localhost and http/1.1
//	max=1.2                the newest version of TLS
//	credit=4096            what the hello grants
//
// A second "at" in one case is another client, beside the first; what the last
// welcome told of a session is in the variables session and token. In a crowd, player is
// the number of who plays. The other steps are
//
//	raw BYTES              into TCP, below TLS
//	record [Nx] TYPE BYTES one TLS record of this content, or N of them, made with the keys of TLS
//	drip N DURATION BYTES  so many bytes at a time, with pauses between, until all is sent
//	flood BYTES            again and again until the connection ends
//	flood DURATION BYTES   for so long, and nothing is read meanwhile
//	wait DURATION          nothing is sent or read
//	half                   the line's sending half is closed
//	as N                   the client acts that came as number N
//	cut                    the line ends without a word; reset: with a RST
//	crowd N                all of the case is played by so many clients, at once
//	alone                  it is played when those that can be played together are over
//
// BYTES are one or more of these, joined:
//
//	"text\r\n"  x"0a 0b"         text as in Go, and hexadecimal digits
//	[4, 1, "Ping", {"id": 7}]    the same in msgpack: numbers, 1.5, "text", b"bin", true,
//	                             false, nil, lists and maps; BYTES stand for themselves
//	NAME   f(…)                  what let has named; a function of bytes_ext_test.go
//
// An END is what the client sees, in order, joined by commas; | stands between
// ends of which either will do:
//
//	alert 42           a TLS alert
//	serverhello        the server goes on with the handshake; retry: it asks for another hello
//	426                the status of an HTTP answer
//	goaway 1, reset 8  of HTTP/2, with their codes, and an answer's status as above
//	welcome, resumed   the hello is answered, with a new session or with the one it asked for
//	error CODE         one or more error frames of the same code
//	drop CODE          a drop frame
//	close 1002         a close frame; the end of TCP must follow
//	closed             the end of TCP; open: it stands, and nothing more comes
//	lives 2            a request with this number is answered
//	any                whatever the server likes, if it is well-formed
package hostile
