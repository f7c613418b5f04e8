// Package rpc is the serving end of methods: Go functions that are called over
// HTTPS, as DIRAC's Tornado services are and in plain JSON, and over stable
// connections. It knows no sockets and no stable connections: msgbus asks it through
// an interface of its own.
//
// # A call
//
// Whatever carried it, a call passes these stations in this order, and what stops
// it at one of them is its answer:
//
//	the method is looked up              unimplemented        HTTP 501
//	may the caller?                      unauthenticated      401
//	                                     permission_denied    403
//	is there room in the service?        unavailable          503, with Retry-After
//	has the method room?                 resource_exhausted   429, with Retry-After
//	is the service initialised?          unavailable          503, with Retry-After
//	do the arguments fit?                invalid_argument     400
//	Before, and then the method          its own error        200: S_ERROR
//	    its time is over                 deadline_exceeded    504
//	    it panics                        internal             500
//
// Only names that were exported are methods: nothing is found by reflection on
// names. A call is in its place until its method has returned, also when nobody waits
// for it any more, and a download until it has ended.
//
// Every service has the methods ping, echo and whoami, with DIRAC's keys.
package rpc
