package msgbus

import (
	"bytes"
	"crypto/sha256"
	"testing"

	"busd/bus"
	"busd/internal/wire"
	"busd/schema"
)

// FuzzResume: whatever a hello says of a session, it does not go on without its
// token, and a name is not taken for one of ours that is not.
func FuzzResume(f *testing.F) {
	svc := &Service{Schema: schema.MustNew("Test/One")}
	node := newNodeID("n1")
	who := holder{svc, "dns:alice/a"}
	mine := node.newSession(who)
	token, digested := newToken()
	held := &agentSession{id: mine, token: digested}
	hello := func(h wire.HelloFrame) []byte {
		b := wire.AppendHello(nil, &h)
		frame, err := wire.Decoder{}.Next(b)
		if err != nil {
			f.Fatal(err)
		}
		return frame.Body
	}
	for _, h := range []wire.HelloFrame{
		{Instance: "a", Credit: 1 << 20, Features: []string{wire.FeatureResume}},
		{Instance: "a", Session: mine, Token: token, Seen: 7, Features: []string{wire.FeatureResume, wire.FeatureMove}, Move: true},
		{Instance: "a", Session: mine[:len(mine)-1] + "x", Token: token[:31]},
		{Instance: "a", Session: "....", Token: make([]byte, 32)},
		{Instance: "a", Session: newNodeID("n1").newSession(who)},
		{Instance: "a", Session: newNodeID("n2").newSession(who)},
	} {
		f.Add(hello(h))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		h, err := wire.DecodeHello(body)
		if err != nil {
			if bus.CodeOf(err) == 0 {
				t.Fatalf("%x: %v has no code", body, err)
			}
			return
		}
		asked := askOf(h)
		if held.accepts(sha256.Sum256(asked.token)) != bytes.Equal(asked.token, token) {
			t.Fatalf("the token %x is taken", asked.token)
		}
		switch why := node.whyUnknown(asked.id, who); why {
		case reasonUnknown:
		case reasonExpired, reasonRestarted:
			if ours := asked.id[:len(node.node)+1] == node.node+"."; !ours || why == reasonExpired && asked.id[:len(node.node)+len(node.boot)+2] != node.node+"."+node.boot+"." {
				t.Fatalf("the session %q is taken for one of ours: %s", asked.id, why)
			}
		default:
			t.Fatalf("the session %q: %s", asked.id, why)
		}
		if args, err := wire.DecodeArgs(h.Args); err == nil {
			if claim, err := claimOf(args); err == nil && claim.Group != "" && args[groupArg] != claim.Group {
				t.Fatalf("%v claims %+v", args, claim)
			}
		}
	})
}
