package hostile

import (
	"bytes"
	"fmt"
	"math"
	"testing"
)

// syntax is how bytes end that are not msgpack by the bus's rules.
const syntax = "drop protocol_error, close 1007"

// misfit is how a one-way message ends that breaks its contract.
const misfit = "error invalid_message, drop invalid_message, close 4071"

// everything sends a message with one attribute.
func everything(name string, value []byte) func(*client) {
	return func(c *client) { c.message(c.data("Everything", dict(str(name), value))) }
}

// helloArg says hello with one connect argument.
func helloArg(value []byte) func(*client) {
	return func(c *client) { c.message(hello(c.instance, str("args"), dict(str("a"), value))) }
}

func TestMsgpack(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	const huge = math.MaxUint32
	keys := func(n int) []byte {
		b := head32(0xdf, uint32(n))
		for i := range n {
			b = append(b, join(str(fmt.Sprintf("k%06d", i)), str("v"))...)
		}
		return b
	}
	cases := []hostileCase{
		// Not frames.
		{name: "garbage", at: welcomed, do: func(c *client) { c.message(bytes.Repeat([]byte{0xc1, 0xff}, 50)) }, want: syntax},
		{name: "text inside", at: welcomed, do: func(c *client) { c.message([]byte(`{"id":1}`)) }, want: syntax},
		{name: "0xc1", at: welcomed, do: func(c *client) { c.message([]byte{0xc1}) }, want: syntax},
		{name: "a map for a frame", at: welcomed, do: func(c *client) { c.message(ping(forbidden)) }, want: syntax},
		{name: "nil for a frame", at: welcomed, do: func(c *client) { c.message(null) }, want: syntax},
		{name: "an empty list", at: welcomed, do: func(c *client) { c.message(list()) }, want: syntax},
		{name: "bytes behind a frame", at: welcomed, do: func(c *client) {
			c.message(packed(kindAck, num(0), num(0)), []byte{0xc1})
		}, want: syntax},
		{name: "a good frame behind a bad one", at: welcomed, do: func(c *client) {
			c.message([]byte{0xc1}, c.data("Ping", ping(forbidden)))
		}, want: syntax},

		// Bombs of length.
		{name: "a list of 2^32-1", at: welcomed, do: func(c *client) { c.message(head32(0xdd, huge)) }, want: syntax},
		{name: "a map of 2^32-1", at: welcomed, do: func(c *client) { c.message(head32(0xdf, huge)) }, want: syntax},
		{name: "a list of 2^32-1 in the hello", at: upgraded, do: func(c *client) { c.message(head32(0xdd, huge)) }, want: syntax},
		{name: "a map of 2^32-1 in the hello", at: upgraded, do: func(c *client) { c.message(join(head32(0xdd, 2), num(kindHello), head32(0xdf, huge))) }, want: syntax},
		{name: "an arg of 2^32-1", at: upgraded, do: helloArg(head32(0xdd, huge)), want: syntax},
		{name: "an instance of 2^32-1", at: upgraded, do: func(c *client) { c.message(packed(kindHello, join([]byte{0x81}, str("instance"), head32(0xdb, huge)))) }, want: syntax},
		{name: "a token of 2^32-1", at: upgraded, do: func(c *client) { c.message(packed(kindHello, join([]byte{0x81}, str("token"), head32(0xc6, huge)))) }, want: syntax},
		{name: "a name of 2^32-1", at: welcomed, do: func(c *client) { c.message(c.numbered(kindData, head32(0xdb, huge), ping(1))) }, want: syntax},
		{name: "attributes of 2^32-1", at: welcomed, do: func(c *client) { c.message(c.data("Ping", head32(0xdf, huge))) }, want: syntax},
		{name: "a drop's map of 2^32-1", at: welcomed, do: func(c *client) { c.message(packed(kindDrop, head32(0xdf, huge))) }, want: syntax},
		{name: "a call's arguments of 2^32-1", at: welcomed, do: func(c *client) { c.message(c.numbered(kindCall, str("m"), head32(0xc6, huge))) }, want: syntax},
		{name: "16 KiB of heads, each a list of 2^32-1", at: welcomed, do: everything("any", repeat(head32(0xdd, huge), 3000)), path: bytePath, want: syntax},

		// Depth.
		{name: "16 deep", at: welcomed, do: everything("any", nested(15)), path: bytePath, want: "lives"},
		{name: "17 deep", at: welcomed, do: everything("any", nested(16)), path: bytePath, want: syntax},
		{name: "17 maps deep", at: welcomed, do: everything("any", nestedMap(16)), path: bytePath, want: syntax},
		{name: "1,000 deep", at: welcomed, do: everything("any", nested(1000)), path: bytePath, want: syntax},
		{name: "200,001 deep", at: welcomed, do: everything("any", nested(200_001)), path: bytePath, want: syntax},
		{name: "1,000,001 deep", at: welcomed, do: everything("any", nested(1_000_001)), path: bytePath, want: syntax},
		{name: "2,000,001 deep", at: welcomed, do: everything("any", nested(2_000_001)), path: bytePath, want: "drop protocol_error, close 1009"},
		{name: "a frame 500,000 lists deep", at: welcomed, do: func(c *client) { c.message(nested(500_000)) }, want: syntax},
		{name: "a hello 17 deep", at: upgraded, do: helloArg(nested(15)), want: syntax},
		{name: "a hello 16,000 deep", at: upgraded, do: helloArg(nested(16_000)), want: syntax},
		{name: "1,000,000 deep for an unknown message", at: welcomed, do: func(c *client) { c.message(c.data("Nobody", dict(str("a"), nested(1_000_000)))) }, want: syntax},
		{name: "1,000,000 deep behind a frame's elements", at: welcomed, do: func(c *client) {
			c.message(c.numbered(kindData, str("Ping"), ping(forbidden), num(0), num(0), nested(1_000_000)))
		}, want: syntax},
		{name: "17 deep for an int", at: welcomed, do: func(c *client) { c.message(c.data("Ping", dict(str("id"), nested(1000)))) }, want: syntax},
		{name: "1,000,000 deep in an error", at: welcomed, do: func(c *client) { c.message(c.numbered(kindError, num(1), dict(str("reason"), nested(1_000_000)))) }, want: syntax},

		// Numbers of values and keys.
		{name: "20,001 values", at: welcomed, do: everything("any", append(head32(0xdd, 20_001), repeat(null, 20_001)...)), path: bytePath, want: syntax},
		{name: "20,001 values of a known kind", at: welcomed, do: everything("list", append(head32(0xdd, 20_001), repeat(num(1), 20_001)...)), path: bytePath, want: syntax},
		{name: "a million nils", at: welcomed, do: everything("any", append(head32(0xdd, 1_000_000), repeat(null, 1_000_000)...)), path: bytePath, want: syntax},
		{name: "20,001 values in many lists", at: welcomed, do: everything("any", append(head32(0xdd, 2000), repeat(list(repeatList(null, 10)...), 2000)...)), path: bytePath, want: syntax},
		{name: "1,024 keys", at: welcomed, do: everything("map", keys(1024)), path: bytePath, want: "lives"},
		{name: "1,025 keys", at: welcomed, do: everything("map", keys(1025)), path: bytePath, want: syntax},
		{name: "1,025 keys of anything", at: welcomed, do: everything("any", keys(1025)), path: bytePath, want: syntax},
		{name: "1,025 attributes", at: welcomed, do: func(c *client) { c.message(c.data("Ping", keys(1025))) }, want: syntax},
		{name: "1,000 keys in the hello", at: upgraded, do: func(c *client) {
			pairs := [][]byte{str("instance"), str(c.instance)}
			for i := range 1000 {
				pairs = append(pairs, str(fmt.Sprintf("k%04d", i)), null)
			}
			c.message(packed(kindHello, dict(pairs...)))
		}, want: "welcome, lives"},

		// Keys.
		{name: "a key twice", at: welcomed, do: everything("any", dict(str("a"), num(1), str("a"), num(2))), path: bytePath, want: syntax},
		{name: "a key twice among a thousand", at: welcomed, do: everything("any", join([]byte{0xde, 0x03, 0xe9}, keys(1000)[5:], str("k000500"), str("v"))), path: bytePath, want: syntax},
		{name: "a key twice in the hello", at: upgraded, do: func(c *client) { c.message(hello("alice", str("instance"), str(c.instance))) }, want: syntax},
		{name: "a number for a key", at: welcomed, do: everything("any", dict(num(1), num(1))), path: bytePath, want: syntax},
		{name: "nil for a key", at: welcomed, do: func(c *client) { c.message(c.data("Ping", dict(null, num(1)))) }, want: syntax},
		{name: "bytes for a key", at: welcomed, do: func(c *client) { c.message(c.data("Ping", dict(bin([]byte("id")), num(1)))) }, want: syntax},
		{name: "a number for a key in the hello", at: upgraded, do: func(c *client) { c.message(hello("x", num(1), num(1))) }, want: syntax},
		{name: "an empty key", at: welcomed, do: everything("any", dict(str(""), num(1))), path: bytePath, want: syntax},
		{name: "a key of 65 bytes", at: welcomed, do: everything("any", dict(str(string(repeat([]byte("k"), 65))), num(1))), path: bytePath, want: syntax},
		{name: "a key of 200 KiB", at: welcomed, do: everything("map", dict(str(string(repeat([]byte("k"), 200<<10))), str("v"))), path: bytePath, want: syntax},
		{name: "a key that is not UTF-8", at: welcomed, do: everything("any", dict(str("\xff"), num(1))), path: bytePath, want: syntax},

		// Text, extensions, floats, numbers.
		{name: "text that is not UTF-8", at: welcomed, do: everything("text", str("a\xc3(")), path: bytePath, want: syntax},
		{name: "surrogates", at: welcomed, do: everything("any", str("\xed\xa0\x80")), path: bytePath, want: syntax},
		{name: "a name that is not UTF-8", at: welcomed, do: func(c *client) { c.message(c.data("Pi\xffg", ping(forbidden))) }, want: syntax},
		{name: "an instance that is not UTF-8", at: upgraded, do: func(c *client) { c.message(hello("\xff\xff")) }, want: syntax},
		{name: "an extension", at: welcomed, do: everything("any", []byte{0xd4, 0x05, 0x00}), path: bytePath, want: syntax},
		{name: "an extension of 2^32-1", at: welcomed, do: everything("any", append(head32(0xc9, huge), 5)), path: bytePath, want: syntax},
		{name: "a timestamp where none is", at: welcomed, do: everything("any", []byte{0xd6, 0xff, 0, 0, 0, 1}), path: bytePath, want: syntax},
		{name: "a timestamp", at: welcomed, do: everything("time", []byte{0xd6, 0xff, 0, 0, 0, 1}), path: bytePath, want: "lives"},
		{name: "a timestamp with too many nanoseconds", at: welcomed, do: everything("time", []byte{0xd7, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1}), path: bytePath, want: syntax},
		{name: "a timestamp in the hello", at: upgraded, do: helloArg([]byte{0xd6, 0xff, 0, 0, 0, 1}), want: syntax},
		{name: "NaN", at: welcomed, do: everything("float", float(math.NaN())), path: bytePath, want: misfit},
		{name: "NaN in anything", at: welcomed, do: everything("any", float(math.NaN())), path: bytePath, want: syntax},
		{name: "infinity", at: welcomed, do: everything("float", float(math.Inf(-1))), path: bytePath, want: misfit},
		{name: "NaN in the hello", at: upgraded, do: helloArg(float(math.NaN())), want: syntax},
		{name: "300 for 8 bits", at: welcomed, do: everything("small", num(300)), path: bytePath, want: misfit},
		{name: "2^64-1 for 8 bits", at: welcomed, do: everything("small", num(math.MaxUint64)), path: bytePath, want: misfit},
		{name: "2^64-1 for 64 bits", at: welcomed, do: func(c *client) { c.message(c.data("Ping", ping(math.MaxUint64))) }, want: misfit},
		{name: "2^64-1 in anything", at: welcomed, do: everything("any", num(math.MaxUint64)), path: bytePath, want: syntax},
		{name: "a float for an int", at: welcomed, do: func(c *client) { c.message(c.data("Ping", dict(str("id"), float(forbidden)))) }, want: misfit},
		{name: "an int for a float", at: welcomed, do: everything("float", num(1)), path: bytePath, want: misfit},

		// What the contract says.
		{name: "bytes for text", at: welcomed, do: everything("text", bin([]byte("a"))), path: bytePath, want: misfit},
		{name: "text for bytes", at: welcomed, do: everything("bytes", str("a")), path: bytePath, want: misfit},
		{name: "nil for an optional one", at: welcomed, do: everything("text", null), path: bytePath, want: misfit},
		{name: "nil for a required one", at: welcomed, do: func(c *client) { c.message(c.data("Ping", dict(str("id"), null))) }, want: misfit},
		{name: "nil for all", at: welcomed, do: func(c *client) { c.message(c.data("Ping", null)) }, want: misfit},
		{name: "true for an int", at: welcomed, do: func(c *client) { c.message(c.data("Ping", dict(str("id"), []byte{0xc3}))) }, want: misfit},
		{name: "a list for a map", at: welcomed, do: everything("map", list()), path: bytePath, want: misfit},
		{name: "an attribute missing", at: welcomed, do: func(c *client) { c.message(c.data("Ping", dict())) }, want: misfit},
		{name: "an attribute too many", at: welcomed, do: func(c *client) { c.message(c.data("Ping", dict(str("id"), num(forbidden), str("x"), num(1)))) }, want: misfit},
		{name: "an attribute twice", at: welcomed, do: func(c *client) { c.message(c.data("Ping", dict(str("id"), num(1), str("id"), num(forbidden)))) }, want: misfit},
		{name: "an attribute in another case", at: welcomed, do: func(c *client) { c.message(c.data("Ping", dict(str("ID"), num(forbidden)))) }, want: misfit},
		{name: "a misfit in a request", at: welcomed, do: func(c *client) { c.message(c.request("Ping", dict(str("id"), str("x")))) }, want: "error invalid_message, lives"},
		{name: "a message of 256 KiB and a byte", at: welcomed, do: everything("bytes", bin(make([]byte, 256<<10))), path: bytePath, want: misfit},
		{name: "a request of 1 MiB less a little", at: welcomed, do: func(c *client) {
			c.message(c.request("Everything", dict(str("bytes"), bin(make([]byte, 1<<20-200)))))
		}, path: bytePath, want: "error invalid_message, lives"},
	}
	whole := (&client{}).data("Ping", ping(forbidden))
	for n := 1; n < len(whole); n++ {
		cases = append(cases, hostileCase{
			name: fmt.Sprintf("a ping cut after %d of %d bytes", n, len(whole)), at: welcomed,
			do: func(c *client) { c.message(whole[:n]) }, want: syntax,
		})
	}
	s.run(t, cases)
}

func repeatList(b []byte, n int) [][]byte {
	all := make([][]byte, n)
	for i := range all {
		all[i] = b
	}
	return all
}
