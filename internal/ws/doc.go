// Package ws carries a link over a WebSocket (RFC 6455): [Accept] on the
// serving end, [Dial] on the calling one. It alone knows the WebSocket
// library, and turns its errors into ours.
//
// It knows nothing of frames.
package ws
