// Package access says who may do what: users, hosts, groups and their
// properties, and the rules of services.
//
// A [Caller] is what authentication has proved, a [Claim] what he says beside
// it, a [Rule] who may do one thing, and a [Grant] the decision: who he is for
// this call. A [Policy] is the operator's word for a whole node, and is swapped
// whole; the [Guard] that it makes for each service decides.
//
//	Caller, Claim ─► Guard.Method("add") ─► Grant, or why not
//	                   │
//	                   ├─ registry: who is he, in which group
//	                   └─ rule: operator's, code's, operator's default, code's default, none
//
// It knows no connections, no files and no clock: who reads certificates, the
// configuration, and the time until a credential expires, stands above it.
package access
