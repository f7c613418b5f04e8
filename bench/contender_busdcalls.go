package main

import (
	"context"
	"encoding/json"
	"fmt"

	"busd/rpc/rpcclient"
)

// busdMethod is where the method is called.
const busdMethod = "/" + busdService + "/reflect"

var busdPostContender = &contender{
	name: "busd-post", title: "busd, plain JSON",
	does:  "the program, called by the same HTTP/1.1 client as net/http: what differs is the server",
	serve: serveBusd,
	call: func(_ context.Context, o dialOptions) (caller, error) {
		return newHTTPCaller(o, false, busdMethod, readBusd), nil
	},
}

var busdHTTPSContender = &contender{
	name: "busd-https", title: "busd, rpcclient https",
	does:  "the program and its own client, which speaks DIRAC's form over HTTP/2",
	serve: serveBusd,
	call:  func(ctx context.Context, o dialOptions) (caller, error) { return dialBusdCalls(ctx, o, "https") },
}

var busdStableContender = &contender{
	name: "busd-wss", title: "busd, rpcclient wss",
	does:  "the same client on one stable connection",
	serve: serveBusd,
	call:  func(ctx context.Context, o dialOptions) (caller, error) { return dialBusdCalls(ctx, o, "wss") },
}

func readBusd(body []byte) (callMessage, error) {
	var answer struct {
		OK    bool        `json:"OK"`
		Value callMessage `json:"Value"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return callMessage{}, err
	}
	if !answer.OK {
		return callMessage{}, fmt.Errorf("the call failed: %s", body)
	}
	return answer.Value, nil
}

func dialBusdCalls(ctx context.Context, o dialOptions, scheme string) (caller, error) {
	c, err := rpcclient.Dial(ctx, scheme+"://"+o.Address+"/"+busdService, rpcclient.Config{
		TLS: o.TLS, DialContext: o.Dial, Name: "bench", Version: "1",
	})
	if err != nil {
		return nil, err
	}
	return busdCaller{c}, nil
}

type busdCaller struct{ client *rpcclient.Client }

// Call makes a call.
func (c busdCaller) Call(ctx context.Context, m callMessage) (callMessage, error) {
	return rpcclient.Call[callMessage](ctx, c.client, "reflect", m.ID, m.Text)
}
