package hostile

import (
	"strings"
	"testing"
	"time"
)

// broken is how a connection ends whose client broke the protocol.
const broken = "drop protocol_error, close 4067"

// unknown is how a one-way message ends that nobody knows.
const unknown = "error unimplemented, drop unimplemented, close 4012"

// says sends one binary message.
func says(parts ...[]byte) func(*client) { return func(c *client) { c.message(parts...) } }

func TestFrames(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	const most = 1<<63 - 1
	welcome := packed(kindWelcome, dict(str("trid"), str("x"), str("identity"), str("dns:alice"), str("credit"), num(1<<20)))
	// stay makes n requests in one message, each of 64 bytes of credit.
	stay := func(c *client, n int) {
		var b []byte
		for range n {
			b = append(b, c.request("Stay", dict())...)
		}
		c.message(b)
	}

	s.run(t, []hostileCase{
		// Before the welcome.
		{name: "data before hello", at: upgraded, do: says(packed(kindData, num(1), str("Ping"), ping(forbidden))), want: broken},
		{name: "an ack before hello", at: upgraded, do: says(packed(kindAck, num(0), num(0))), want: broken},
		{name: "a drop before hello", at: upgraded, do: says(packed(kindDrop, dict(str("code"), num(65), str("reason"), str("")))), want: broken},
		{name: "a welcome before hello", at: upgraded, do: says(welcome), want: broken},
		{name: "an empty message for a hello", at: upgraded, do: says(nil), want: syntax},
		{name: "data behind the hello", at: upgraded, do: func(c *client) {
			c.message(hello(c.instance), c.data("Ping", ping(forbidden)))
		}, want: broken},
		{name: "two hellos in one message", at: upgraded, do: says(hello("a"), hello("b")), want: broken},
		{name: "a second message before the welcome", at: upgraded, do: func(c *client) {
			c.message(hello(c.instance))
			c.message(c.data("Ping", ping(1)))
		}, want: "welcome, lives"},

		// Hellos.
		{name: "a hello without an instance", at: upgraded, do: says(packed(kindHello, dict())), want: "drop invalid_argument, close 4003"},
		{name: "an empty instance", at: upgraded, do: says(hello("")), want: "drop invalid_argument, close 4003"},
		{name: "an instance of 65 bytes", at: upgraded, do: says(hello(strings.Repeat("a", 65))), want: "drop invalid_argument, close 4003"},
		{name: "an instance with a slash", at: upgraded, do: says(hello("../alice")), want: "drop invalid_argument, close 4003"},
		{name: "an instance with a NUL", at: upgraded, do: says(hello("a\x00b")), want: "drop invalid_argument, close 4003"},
		{name: "an instance with a wildcard", at: upgraded, do: says(hello("*")), want: "drop invalid_argument, close 4003"},
		{name: "an instance that is a number", at: upgraded, do: says(packed(kindHello, dict(str("instance"), num(7)))), want: broken},
		{name: "a nil instance", at: upgraded, do: says(packed(kindHello, dict(str("instance"), null))), want: "drop invalid_argument, close 4003"},
		{name: "args that are a list", at: upgraded, do: says(hello("x", str("args"), list())), want: broken},
		{name: "features that are text", at: upgraded, do: says(hello("x", str("features"), str("all"))), want: broken},
		{name: "credit of text", at: upgraded, do: says(hello("x", str("credit"), str("much"))), want: broken},
		{name: "credit of 1", at: upgraded, do: says(hello("x", str("credit"), num(1))), want: broken},
		{name: "credit below zero", at: upgraded, do: says(hello("x", str("credit"), []byte{0xff})), want: broken},
		{name: "credit of 2^63-1", at: upgraded, do: says(hello("x", str("credit"), num(most))), want: broken},
		{name: "credit of 2^64-1", at: upgraded, do: says(hello("x", str("credit"), num(1<<64-1))), want: broken},
		{name: "seen below zero", at: upgraded, do: says(hello("x", str("seen"), []byte{0xff})), want: broken},
		{name: "a hello of a list", at: upgraded, do: says(packed(kindHello, list())), want: syntax},
		{name: "a hello of nothing", at: upgraded, do: says(packed(kindHello)), want: broken},
		{name: "keys that nobody knows", at: upgraded, do: func(c *client) {
			c.message(hello(c.instance, str("identity"), str("dns:alice"), str("admin"), []byte{0xc3}))
		}, want: "welcome, lives"},
		{name: "a session and a token that never were", at: upgraded, do: func(c *client) {
			c.message(hello(c.instance, str("session"), str("stolen"), str("token"), bin(make([]byte, 32)), str("seen"), num(most)))
		}, want: "welcome, lives"},
		{name: "another contract's fingerprint", at: upgraded, do: func(c *client) {
			c.message(hello(c.instance, str("fingerprint"), str("sha256:0000")))
		}, want: "welcome, lives"},
		{name: "a second hello after the welcome", at: welcomed, do: func(c *client) { c.message(hello(c.instance)) }, want: broken},

		// Kinds.
		{name: "a welcome from the client", at: welcomed, do: says(welcome), want: broken},
		{name: "a part", at: welcomed, do: says(packed(kindPart, num(1))), want: broken},
		{name: "kind 12", at: welcomed, do: says(packed(12, num(1))), want: broken},
		{name: "kind 2^63-1", at: welcomed, do: says(packed(most)), want: broken},
		{name: "kind -1", at: welcomed, do: says([]byte{0x91, 0xff}), want: syntax},
		{name: "kind of text", at: welcomed, do: says(list(str("data"))), want: syntax},
		{name: "a goaway", at: sessioned, do: says(packed(kindGoaway, dict())), want: "drop going_away, close 4065"},
		{name: "a goaway of text", at: sessioned, do: says(packed(kindGoaway, str("bye"))), want: syntax},
		{name: "a goaway with text for a time", at: sessioned, do: says(packed(kindGoaway, dict(str("deadline_ms"), str("soon")))), want: broken},
		{name: "a goaway, and then no ack of the last answer", at: sessioned, do: func(c *client) {
			c.message(c.request("Nobody", dict()), packed(kindGoaway, dict()))
		}, want: "error unimplemented, drop keepalive_timeout, close 4068", within: idle + 2*time.Second + goodbye},
		{name: "data without attributes", at: welcomed, do: says(packed(kindData, num(1), str("Ping"))), want: broken},
		{name: "an ack of one number", at: welcomed, do: says(packed(kindAck, num(0))), want: broken},
		{name: "an ack of text", at: welcomed, do: says(packed(kindAck, str("a"), num(0))), want: syntax},
		{name: "a drop of text", at: welcomed, do: says(packed(kindDrop, str("bye"))), want: syntax},
		{name: "a drop with text for a code", at: welcomed, do: says(packed(kindDrop, dict(str("code"), str("x")))), want: broken},
		{name: "a drop", at: welcomed, do: says(packed(kindDrop, dict(str("code"), num(65), str("reason"), str("bye")))), want: "close 1000"},
		{name: "a drop of an unknown code and talk behind it", at: welcomed, do: func(c *client) {
			c.message(packed(kindDrop, dict(str("code"), num(999999))), c.data("Ping", ping(forbidden)))
		}, want: "close 1000"},
		{name: "elements of a newer version", at: welcomed, do: func(c *client) {
			c.message(c.numbered(kindData, str("Ping"), ping(1), num(0), num(0), str("new"), list(num(1))))
		}, want: "lives"},
		{name: "keys of a newer version", at: sessioned, do: func(c *client) {
			c.message(packed(kindGoaway, dict(str("new"), list(num(1)))))
		}, want: "drop going_away, close 4065"},

		// Numbers.
		{name: "number 0", at: welcomed, do: says(packed(kindData, num(0), str("Ping"), ping(forbidden))), want: broken},
		{name: "number 2 first", at: welcomed, do: says(packed(kindData, num(2), str("Ping"), ping(forbidden))), want: broken},
		{name: "number 1 twice", at: welcomed, do: says(packed(kindData, num(1), str("Ping"), ping(1)), packed(kindData, num(1), str("Ping"), ping(forbidden))), want: broken},
		{name: "number -1", at: welcomed, do: says(packed(kindData, []byte{0xff}, str("Ping"), ping(forbidden))), want: syntax},
		{name: "number 2^63-1", at: welcomed, do: says(packed(kindData, num(most), str("Ping"), ping(forbidden))), want: broken},
		{name: "number 2^64-1", at: welcomed, do: says(packed(kindData, num(1<<64-1), str("Ping"), ping(forbidden))), want: syntax},
		{name: "a number of text", at: welcomed, do: says(packed(kindData, str("1"), str("Ping"), ping(forbidden))), want: syntax},
		{name: "a gap behind a good one", at: welcomed, do: func(c *client) {
			c.message(c.data("Ping", ping(1)), packed(kindRequest, num(3), str("Ping"), ping(forbidden)))
		}, want: broken},

		// Acks, answers, errors, cancels of what never was.
		{name: "an ack of the future", at: welcomed, do: says(packed(kindAck, num(1), num(0))), want: broken},
		{name: "an ack of frame 2^63-1", at: welcomed, do: says(packed(kindAck, num(most), num(0))), want: broken},
		{name: "an ack that gives back what was not spent", at: welcomed, do: says(packed(kindAck, num(0), num(64))), want: broken},
		{name: "an ack that gives back 2^63-1", at: welcomed, do: says(packed(kindAck, num(0), num(most))), want: broken},
		{name: "an ack of nothing", at: welcomed, do: says(packed(kindAck, num(0), num(0))), want: "lives"},
		{name: "an answer to nothing", at: welcomed, do: func(c *client) { c.message(c.numbered(kindAnswer, num(0), null, null)) }, want: broken},
		{name: "an answer to the future", at: welcomed, do: func(c *client) { c.message(c.numbered(kindAnswer, num(1), null, null)) }, want: broken},
		{name: "an error of the future", at: welcomed, do: func(c *client) {
			c.message(c.numbered(kindError, num(7), dict(str("code"), num(1), str("reason"), str(""))))
		}, want: broken},
		{name: "an answer by a number", at: welcomed, do: func(c *client) { c.message(c.numbered(kindAnswer, num(1), num(7), null)) }, want: syntax},
		{name: "a cancel of nothing", at: welcomed, do: says(packed(kindCancel, num(0))), want: "lives"},
		{name: "a cancel of the future", at: welcomed, do: says(packed(kindCancel, num(most))), want: "lives"},
		{name: "a cancel of text", at: welcomed, do: says(packed(kindCancel, str("1"))), want: syntax},
		{name: "a canceled request", at: welcomed, do: func(c *client) {
			stay(c, 1)
			c.message(packed(kindCancel, num(c.n)))
		}, path: bytePath, want: "lives"},
		{name: "a request with no time", at: welcomed, do: func(c *client) {
			c.message(c.numbered(kindRequest, str("Stay"), dict(), num(1)))
		}, path: bytePath, want: "lives"},
		{name: "a request with 2^63-1 ms", at: welcomed, do: func(c *client) {
			c.message(c.numbered(kindRequest, str("Ping"), ping(1), num(most)))
		}, want: "lives"},
		{name: "a request with time below zero", at: welcomed, do: func(c *client) {
			c.message(c.numbered(kindRequest, str("Ping"), ping(forbidden), []byte{0xff}))
		}, want: syntax},

		// Messages.
		{name: "an unknown message", at: welcomed, do: func(c *client) { c.message(c.data("Nobody", dict())) }, want: unknown},
		{name: "the service's message", at: welcomed, do: func(c *client) { c.message(c.data("Pong", ping(1))) }, want: unknown},
		{name: "an unknown request", at: welcomed, do: func(c *client) { c.message(c.request("Nobody", dict())) }, want: "error unimplemented, lives"},
		{name: "a request of the service's message", at: welcomed, do: func(c *client) { c.message(c.request("Pong", ping(1))) }, want: "error unimplemented, lives"},
		{name: "an empty name", at: welcomed, do: func(c *client) { c.message(c.data("", ping(forbidden))) }, want: syntax},
		{name: "a name of 65 bytes", at: welcomed, do: func(c *client) { c.message(c.data(strings.Repeat("a", 65), ping(forbidden))) }, want: syntax},
		{name: "a name with control characters", at: welcomed, do: func(c *client) { c.message(c.data("Ping\r\n\x1b[2J", ping(forbidden))) }, want: unknown},
		{name: "a call", at: welcomed, do: func(c *client) { c.message(c.numbered(kindCall, str("method"), bin(nil))) }, want: "error unimplemented, lives"},
		{name: "a call of __class__", at: welcomed, do: func(c *client) { c.message(c.numbered(kindCall, str("__class__"), bin(nil))) }, want: "error unimplemented, lives"},

		// Credit.
		{name: "all the credit", at: welcomed, do: func(c *client) {
			stay(c, 1<<20/64-1)
			c.message(packed(kindCancel, num(1)))
		}, path: bytePath, want: "drop keepalive_timeout, close 4068", within: idle + 2*time.Second + goodbye},
		{name: "a frame more than the credit", at: welcomed, do: func(c *client) { stay(c, 1<<20/64+1) }, path: bytePath, want: broken},
		{name: "a megabyte more than the credit", at: welcomed, do: func(c *client) {
			stay(c, 1)
			for range 5 {
				c.message(c.data("Everything", dict(str("bytes"), bin(make([]byte, 250<<10)))))
			}
		}, path: bytePath, want: broken},
	})
}
