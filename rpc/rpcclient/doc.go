// Package rpcclient calls the methods of services: those of busd, and those of
// DIRAC's Tornado servers, whose wire it speaks.
//
//	c, err := rpcclient.Dial(ctx, "https://bus.example.org:8443/Framework/Adder", rpcclient.Config{
//		CertFile: "me.pem", KeyFile: "me.key", CAFiles: []string{"ca.pem"},
//	})
//	sum, err := rpcclient.Call[int](ctx, c, "add", 1, 2)
//
// The scheme of the URL chooses the way: https:// is a request for each call, over
// connections that are kept; wss:// is one stable connection, on which any number of
// calls run at a time. The calls are the same, and so are the errors; files are moved
// over https either way.
//
// # When a call is tried again
//
// A service may have several URLs. A call is tried at the next one only when it was
// surely not executed: nobody listens there, TLS fails, nothing of the request was
// written, or busd itself said 429 or 503 with Retry-After, in its own words: a gateway
// may say so of a call that was executed. Whoever declares calls
// repeatable with [Client.Idempotent] has them tried again after a cut, too. A URL that
// failed is left alone for a while as long as there are others, and one that said
// Retry-After for that time; if all are busy the call waits, within its context.
// Redirects are never followed.
//
// # Errors
//
// Every error of a call is an [*Error], with a code of package bus. One that the method
// itself returned (S_ERROR) has Returned set, and its Errno and Message.
// errors.Is(err, [ErrNotExecuted]) tells whether the call was surely not executed.
package rpcclient
