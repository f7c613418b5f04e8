package doctor

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"busd/bus"
	"busd/internal/link"
	"busd/internal/wire"
	"busd/internal/ws"
	"busd/schema"
)

const (
	// maxWelcome bounds the first message of the service, which holds the contract.
	maxWelcome = 4 << 20
	// credit is what the service is granted: nothing that it sends is handled.
	credit = 1 << 20
	// instances begin with this, so that a server's log tells them apart.
	instancePrefix = "doctor-"
)

// mayGreet finds out whether a hello does harm: where a service makes one
// connection for each certificate, whatever the instance, the connection that
// somebody else has with this one would be ended. It says a hello that no service
// accepts: without an instance, and with a group that is none. A service that
// looks at instances misses that first, and says so. The socket is used up.
func (e *examination) mayGreet(ctx context.Context, sock *ws.Socket) bool {
	args, err := wire.AppendArgs(map[string]any{"group": false})
	if err != nil { // they can be sent
		panic(err)
	}
	_, err = e.exchange(ctx, sock, &wire.HelloFrame{Credit: credit, Args: args})
	e.leave(sock, err)
	why := bus.AsError(err)
	switch {
	case err == nil, why.Remote && strings.Contains(why.Reason, "instance"):
		return true
	case !why.Remote || why.Code != bus.CodeInvalidArgument && why.Code != bus.CodeProtocolError:
		e.find(e.unwelcome(err))
		return false
	}
	e.warn(StepHello, "hello_left_out",
		"the service does not ask for an instance: it seems to have one connection for each certificate, and a hello would end the one that a client with "+
			e.Cert+" may have, so none was said",
		"busd listen "+e.URL+"    connects, and takes the place of that client")
	if e.answer != nil && isContract(e.answer.body) {
		e.compareContract(e.answer.body)
	}
	return false
}

// leave ends a connection, with what it ended with; nil: with a goodbye.
func (e *examination) leave(sock *ws.Socket, err error) {
	var said *bus.Error
	switch {
	case err == nil:
		link.Refuse(sock, bus.Errorf(bus.CodeGoingAway, "busd doctor has seen enough"))
	case errors.As(err, &said) && said.Remote:
		link.Refuse(sock, err)
	default:
		sock.Abort()
	}
}

// exchange says hello and reads the answer; a drop is the error that it says.
func (e *examination) exchange(ctx context.Context, sock *ws.Socket, hello *wire.HelloFrame) (*wire.WelcomeFrame, error) {
	defer context.AfterFunc(ctx, sock.Abort)()
	sock.Limit(maxWelcome, e.HelloTimeout, time.Now().Add(e.HelloTimeout))
	hello.Client = wire.Program{Name: "busd-doctor", Version: e.Version}
	if err := sock.Write(wire.AppendHello(nil, hello)); err != nil {
		return nil, err
	}
	b, err := sock.Read()
	if err != nil {
		return nil, err
	}
	f, err := wire.Decoder{}.Next(b)
	if err != nil {
		return nil, link.AsFault(err)
	}
	switch f.Kind { //nolint:exhaustive // nothing else may come first
	case wire.Drop:
		why, err := wire.DecodeDrop(f.Body)
		if err != nil {
			return nil, err
		}
		return nil, why
	case wire.Welcome:
		return wire.DecodeWelcome(f.Body)
	}
	return nil, bus.Errorf(bus.CodeProtocolError, "it answers a hello with %s", f.Kind)
}

// greet says hello, as a client of its own, and takes the steps that a welcome
// allows. It asks for no session: nothing is left behind.
func (e *examination) greet(ctx context.Context, sock *ws.Socket) {
	args, err := wire.AppendArgs(e.Args)
	if err != nil {
		sock.Abort()
		e.fail(StepHello, "wrong_arguments", "the connect arguments cannot be sent: "+bus.AsError(err).Reason)
		return
	}
	tag := make([]byte, 6)
	_, _ = rand.Read(tag) // it never fails
	began := time.Now()
	welcome, err := e.exchange(ctx, sock, &wire.HelloFrame{Instance: instancePrefix + hex.EncodeToString(tag), Args: args, Credit: credit})
	if err != nil {
		e.find(e.unwelcome(err))
		e.leave(sock, err)
		return
	}
	node := ""
	if welcome.Node != "" {
		node = ", by node " + welcome.Node
	}
	e.ok(StepHello, "welcomed", "welcomed as %s%s, in %s", welcome.Identity, node, short(time.Since(began)))
	e.compareContract([]byte(welcome.Contract))
	if !e.ping(ctx, sock) {
		sock.Abort() // nobody would hear a goodbye
		return
	}
	e.leave(sock, nil)
}

// unanswered says why there was no answer to the hello that makes sense.
func (e *examination) unanswered(err error) Finding {
	f := Finding{Step: StepHello, Level: Fail}
	switch code := bus.CodeOf(err); {
	case code == bus.CodeDeadlineExceeded, timedOut(err):
		f.Code, f.Seen = "hello_silent", fmt.Sprintf("the service did not answer a hello in %s", e.HelloTimeout)
		f.Try = []string{"the server's log: OnConnect of the service hangs, or a proxy in between keeps what is sent"}
	case code == bus.CodeProtocolError:
		f.Code, f.Seen = "not_msgbus", "what answers does not keep to the protocol "+wire.Subprotocol+": "+reasonOf(err)
		f.Try = []string{"another URL: is it busd that answers there?"}
	default:
		f.Code, f.Seen = "hello_closed", "the connection ended after the hello, without a reason: "+reasonOf(err)
		f.Try = []string{"the server's log", "if a proxy is in front: does it pass WebSockets on?"}
	}
	return f
}

// unwelcome says why there was no welcome.
func (e *examination) unwelcome(err error) Finding {
	why := bus.AsError(err)
	if !why.Remote {
		return e.unanswered(err)
	}
	f := Finding{Step: StepHello, Level: Fail}
	switch why.Code {
	case bus.CodePermissionDenied:
		f.Code, f.Seen = "not_allowed", "the server's rules do not let "+e.whoIsShown()+" connect to "+e.service()
		f.Try = []string{"on the server: services.*.access.connect, or a rule that lets the client send or call something", "busd call " + e.URL + " whoami    who you are there, and in which groups"}
	case bus.CodeInvalidArgument:
		f.Code, f.Seen = "wrong_arguments", "the service refuses the connect arguments"
		f.Try = []string{"--args JSON                       the connect arguments that the service wants"}
	case bus.CodeResourceExhausted:
		f.Code, f.Seen = "busy", "the service takes no more connections now"
		f.Try = []string{"again in a while"}
	case bus.CodeGoingAway:
		f.Code, f.Seen = "stopping", "the server is shutting down"
		f.Try = []string{"again in a while, or another server"}
	case bus.CodeCertificateRevoked:
		return e.revoked(StepHello)
	case bus.CodeCertificateExpired:
		f.Code, f.Seen = "refused_expired", "the server says that your certificate "+e.Cert+" is expired"
		f.Try = []string{"busd pki renew " + e.Cert + "    if a CA of busd pki signed it"}
	case bus.CodeUnsupportedVersion:
		f = e.wrongVersion("it refuses the hello")
	case bus.CodeProtocolError:
		f.Code, f.Seen = "not_msgbus", "the server says that the hello breaks its protocol"
		f.Try = []string{"busd version                      compare it with the server's"}
	default:
		f.Code, f.Seen = "hello_refused", "the service refuses the connection, with "+why.Code.String()
		f.Try = []string{"ask whoever runs the service: it decides that itself"}
	}
	if reason := why.Text(); reason != "" {
		f.Seen += ": " + reason
	}
	if why.Retry.After > 0 {
		f.Seen += ", and asks to wait for " + why.Retry.After.String()
	}
	return f
}

// reasonOf is what an error says to a person.
func reasonOf(err error) string {
	var known *bus.Error
	if errors.As(err, &known) {
		return known.Text()
	}
	return err.Error()
}

// isContract tells whether bytes are a contract.
func isContract(document []byte) bool {
	_, err := schema.Parse(document)
	return err == nil
}

// compareContract looks at the service's contract, and compares it with the
// client's.
func (e *examination) compareContract(document []byte) {
	theirs, err := schema.Parse(document)
	if err != nil {
		e.fail(StepContract, "contract_unreadable", "the service's contract cannot be read: "+err.Error(), "busd version                      compare it with the server's: it may be newer")
		return
	}
	size := fmt.Sprintf("%d messages, %d methods", len(theirs.Messages()), len(theirs.Methods()))
	if e.Contract == nil {
		e.ok(StepContract, "contract_good", "%s, %s", size, theirs.Fingerprint())
		return
	}
	var broken []string
	changes := schema.Diff(e.Contract, theirs)
	for _, change := range changes {
		if change.Breaking {
			broken = append(broken, strings.TrimSuffix(change.String(), " (breaking)"))
		}
	}
	switch {
	case len(broken) > 0:
		const most = 10
		if more := len(broken) - most; more > 0 {
			broken = append(slices.Clone(broken[:most]), fmt.Sprintf("%d more", more))
		}
		e.fail(StepContract, "contract_breaks", "the service's contract would break a client with yours: "+strings.Join(broken, "; "),
			"build the client with the service's contract, or bring the service up to date: a rollout may be under way")
	case len(changes) > 0:
		e.ok(StepContract, "contract_good", "%s; it differs from yours in %d places, none of which breaks the client", size, len(changes))
	default:
		e.ok(StepContract, "contract_good", "%s, the same as yours", size)
	}
}
