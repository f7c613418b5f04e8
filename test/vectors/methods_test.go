package vectors_test

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"busd/access"
	"busd/bus"
	"busd/bustest"
	"busd/msgbus"
	"busd/schema"
)

// anything is the type of what may be anything.
var anything = schema.Type{Kind: schema.Any}

// methods are what the service's contract says of its methods.
var methods = []schema.Method{
	{Name: "echo", Params: []schema.Attribute{{Name: "data", Type: anything}}, Result: &anything, Doc: "Returns its argument."},
	{Name: "whoami", Result: &schema.Type{Kind: schema.String}},
	{Name: "fail", Params: []schema.Attribute{{Name: "code", Type: schema.Type{Kind: schema.String}}, {Name: "reason", Type: schema.Type{Kind: schema.String}}}},
	{Name: "panic"},
	{Name: "wait"},
	{Name: "slow", Result: &schema.Type{Kind: schema.String}},
	{Name: "large", Params: []schema.Attribute{{Name: "size", Type: schema.Type{Kind: schema.Int}}}, Result: &schema.Type{Kind: schema.String}},
	{Name: "audit"},
}

// A clerk answers the calls of the conversations.
type clerk struct{ guarded bool }

func (clerk) Name() string             { return serviceName }
func (clerk) Methods() []schema.Method { return methods }

func (k clerk) Rules() access.Rules {
	if !k.guarded {
		return access.Rules{}
	}
	return access.Rules{Default: access.Authenticated, Methods: map[string]access.Rule{"audit": access.MustRule("Operator")}}
}

func (clerk) ServeHTTP(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }

// Call does what README.md says of each method. Where arguments count, they are a
// list.
func (clerk) Call(ctx context.Context, c *access.Caller, claim access.Claim, method string, args []byte) ([]byte, error) {
	var list []any
	switch method {
	case "echo":
		return args, nil
	case "whoami":
		return json.Marshal(c.Peer.Name + " " + claim.Group)
	case "fail", "large":
		if err := json.Unmarshal(args, &list); err != nil {
			return nil, bus.Errorf(bus.CodeInvalidArgument, "want a list")
		}
	}
	switch method {
	case "fail":
		code, _ := list[0].(string)
		reason, _ := list[1].(string)
		return nil, fault(code, reason)
	case "large":
		size, _ := list[0].(float64)
		return make([]byte, int(size)), nil
	case "panic":
		panic("at the method")
	case "wait":
		<-ctx.Done()
		return nil, ctx.Err()
	case "slow":
		time.Sleep(slowly)
		return []byte(`"done"`), nil
	case "audit":
		return []byte("null"), nil
	}
	return nil, bus.Errorf(bus.CodeUnimplemented, "Test/Vectors has no method %q", method)
}

// guardedBy are the rules of a guarded service: it has operators, and somebody who
// is one. connect is who may connect; nil: whoever may do anything.
func guardedBy(connect []string) access.Config {
	return access.Config{
		Registry: access.RegistryConfig{
			Users: []access.UserConfig{{Name: "alice", Peers: []string{"dns:" + bustest.DefaultPeer}}},
			Groups: []access.GroupConfig{
				{Name: "users", Users: []string{"alice"}},
				{Name: "operators", Users: []string{"alice"}, Properties: []string{"Operator"}},
			},
		},
		Services: map[string]access.ServiceRules{serviceName: {Connect: connect}},
	}
}

// guard gives a service its rules.
func guard(s *msgbus.Service) {
	s.Allow = access.Authenticated
	s.Rules = map[string]access.Rule{"Quiet": access.MustRule("Operator")}
	s.Methods = clerk{guarded: true}
}
