package hostile

import (
	"encoding/binary"
	"testing"
	"time"
)

// pacePatience is for what must not go on: the pace's time and the goodbye.
const pacePatience = pace + 2*time.Second + goodbye

func TestWebSocket(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	valid := packed(kindRequest, num(1), str("Ping"), ping(1))
	bad := packed(kindData, num(1), str("Ping"), ping(forbidden))
	closing := func(payload ...byte) []byte { return frame(fin|opClose, payload) }
	coded := func(code uint16, text string) []byte {
		return closing(append(binary.BigEndian.AppendUint16(nil, code), text...)...)
	}
	zeros := func(n int) []byte { return make([]byte, n) }

	s.run(t, []hostileCase{
		// Frames that RFC 6455 forbids.
		{name: "unmasked", at: welcomed, do: sends(frameHead(fin|opBinary, 0, uint64(len(bad))), bad), want: "close 1002"},
		{name: "unmasked hello", at: upgraded, do: func(c *client) {
			b := hello(c.instance)
			c.send(join(frameHead(fin|opBinary, 0, uint64(len(b))), b))
		}, want: "close 1002"},
		{name: "unmasked ping", at: welcomed, do: sends([]byte{fin | opPing, 0}), want: "close 1002"},
		{name: "RSV1, the compression bit", at: welcomed, do: sends(frame(fin|rsv1|opBinary, bad)), want: "close 1002"},
		{name: "RSV1 in the hello", at: upgraded, do: func(c *client) { c.send(frame(fin|rsv1|opBinary, hello(c.instance))) }, want: "close 1002"},
		{name: "RSV2", at: welcomed, do: sends(frame(fin|rsv2|opBinary, bad)), want: "close 1002"},
		{name: "RSV3", at: welcomed, do: sends(frame(fin|rsv3|opBinary, bad)), want: "close 1002"},
		{name: "RSV1 on a ping", at: welcomed, do: sends(frame(fin|rsv1|opPing, nil)), want: "close 1002"},
		{name: "opcode 3", at: welcomed, do: sends(frame(fin|0x3, bad)), want: "close 1002"},
		{name: "opcode 7", at: welcomed, do: sends(frame(fin|0x7, nil)), want: "close 1002"},
		{name: "opcode 11", at: welcomed, do: sends(frame(fin|0xb, nil)), want: "close 1002"},
		{name: "opcode 15", at: welcomed, do: sends(frame(fin|0xf, bad)), want: "close 1002"},
		{name: "a ping in fragments", at: welcomed, do: sends(frame(opPing, []byte("a")), frame(fin|opContinue, []byte("b"))), want: "close 1002"},
		{name: "a close in fragments", at: welcomed, do: sends(frame(opClose, []byte{3})), want: "close 1002"},
		{name: "a ping of 126 bytes", at: welcomed, do: sends(frame(fin|opPing, zeros(126))), want: "close 1002"},
		{name: "a pong of 64 KiB", at: welcomed, do: sends(frame(fin|opPong, zeros(64<<10))), want: "close 1002"},
		{name: "a close of 1 MiB", at: welcomed, do: sends(frame(fin|opClose, zeros(1<<20))), want: "close 1002"},
		{name: "a continuation of nothing", at: welcomed, do: sends(frame(fin|opContinue, bad)), want: "close 1002"},
		{name: "a continuation of what is whole", at: welcomed, do: func(c *client) {
			c.message(c.request("Ping", ping(1)))
			c.send(frame(fin|opContinue, bad))
		}, want: "close 1002"},
		{name: "a message inside a message", at: welcomed, do: sends(frame(opBinary, bad[:3]), frame(fin|opBinary, bad)), want: "close 1002"},
		{name: "a text inside a message", at: welcomed, do: sends(frame(opBinary, bad[:3]), frame(fin|opText, bad)), want: "close 1002"},

		// Text.
		{name: "text", at: welcomed, do: sends(frame(fin|opText, []byte(`{"id":1}`))), want: "drop protocol_error, close 1003"},
		{name: "text for a hello", at: upgraded, do: sends(frame(fin|opText, []byte("hello"))), want: "drop protocol_error, close 1003"},
		{name: "text that is not UTF-8", at: welcomed, do: sends(frame(fin|opText, []byte{0xff, 0xfe})), want: "drop protocol_error, close 1003"},
		{name: "endless text", at: welcomed, do: func(c *client) {
			c.send(frame(opText, zeros(1)))
			drips(64<<10, 0, frame(opContinue, zeros(32<<10)))(c)
		}, want: "drop protocol_error, close 1003"},

		// Lengths.
		{name: "1 MiB and a byte", at: welcomed, do: sends(frame(fin|opBinary, zeros(1<<20+1))), want: "drop protocol_error, close 1009"},
		{name: "a hello of 16 KiB and a byte", at: upgraded, do: sends(frame(fin|opBinary, zeros(16<<10+1))), want: "drop protocol_error, close 1009"},
		{name: "2^31 bytes announced", at: welcomed, do: sends(frameHead(fin|opBinary, maskBit, 1<<31), zeros(100)), want: "drop deadline_exceeded, close 1008", within: pacePatience},
		{name: "2^62 bytes announced", at: welcomed, do: sends(frameHead(fin|opBinary, maskBit, 1<<62), zeros(100)), want: "drop deadline_exceeded, close 1008", within: pacePatience},
		{name: "2^63-1 bytes announced", at: welcomed, do: sends(frameHead(fin|opBinary, maskBit, 1<<63-1), zeros(100)), want: "drop deadline_exceeded, close 1008", within: pacePatience},
		{name: "2^63 bytes announced", at: welcomed, do: sends(frameHead(fin|opBinary, maskBit, 1<<63), zeros(100)), want: "drop protocol_error, close 1009"},
		{name: "2^64-1 bytes announced", at: welcomed, do: sends(frameHead(fin|opBinary, maskBit, 1<<64-1), zeros(100)), want: "drop protocol_error, close 1009"},
		{name: "2^64-1 bytes announced in the hello", at: upgraded, do: sends(frameHead(fin|opBinary, maskBit, 1<<64-1), zeros(100)), want: "drop protocol_error, close 1009"},
		{name: "lengths whose sum overflows", at: welcomed, do: sends(frame(opBinary, zeros(100)), frameHead(fin|opContinue, maskBit, 1<<63-50), zeros(100)), want: "drop protocol_error, close 1009"},
		{name: "2^63 bytes of a ping announced", at: welcomed, do: sends(frameHead(fin|opPing, maskBit, 1<<63), zeros(100)), want: "close 1002"},
		{name: "a short length in eight bytes", at: welcomed, do: func(c *client) {
			b := c.request("Ping", ping(1))
			c.send(join([]byte{fin | opBinary, maskBit | 127}, binary.BigEndian.AppendUint64(nil, uint64(len(b))), zeros(4), b))
		}, want: "lives"},

		// Fragments.
		{name: "a message in fragments of one byte", at: welcomed, do: func(c *client) { c.send(fragments(c.request("Ping", ping(1)), 1)) }, want: "lives"},
		{name: "a message in fragments with pings between", at: welcomed, do: func(c *client) {
			b := c.request("Ping", ping(1))
			c.send(join(frame(opBinary, b[:2]), frame(fin|opPing, []byte("x")), frame(opContinue, b[2:4]), frame(fin|opContinue, b[4:])))
		}, want: "lives"},
		{name: "a hello in fragments", at: upgraded, do: func(c *client) { c.send(fragments(hello(c.instance), 3)) }, want: "welcome, lives"},
		{name: "endless fragments of 60 kB", at: welcomed, do: func(c *client) {
			c.send(frame(opBinary, zeros(1)))
			drips(1<<20, 0, frame(opContinue, zeros(60_000)))(c)
		}, want: "drop protocol_error, close 1009"},
		{name: "endless fragments of one byte, dripping", at: welcomed, do: func(c *client) {
			c.send(frame(opBinary, zeros(1)))
			drips(1<<10, 100*time.Millisecond, frame(opContinue, zeros(1)))(c)
		}, want: "drop deadline_exceeded, close 1008", within: pacePatience},
		{name: "endless fragments of nothing", at: welcomed, do: func(c *client) {
			c.send(frame(opBinary, nil))
			drips(6*100, time.Millisecond, repeat(frame(opContinue, nil), 100))(c)
		}, want: "drop deadline_exceeded, close 1008", within: pacePatience},
		{name: "endless fragments of nothing for a hello", at: upgraded, do: func(c *client) {
			c.send(frame(opBinary, nil))
			drips(6*100, time.Millisecond, repeat(frame(opContinue, nil), 100))(c)
		}, want: "drop deadline_exceeded, close 4004"},
		{name: "endless pings inside a message", at: welcomed, do: func(c *client) {
			c.send(frame(opBinary, nil))
			drips(6, 100*time.Millisecond, frame(fin|opPing, nil))(c)
		}, want: "drop deadline_exceeded, close 1008", within: pacePatience},
		{name: "endless empty messages", at: welcomed, do: func(c *client) {
			c.send(repeat(frame(fin|opBinary, nil), 10_000))
		}, want: "lives"},

		// Half of it.
		{name: "half a frame's head", at: welcomed, do: sends([]byte{fin | opBinary}), want: "drop deadline_exceeded, close 1008", within: pacePatience},
		{name: "half a message", at: welcomed, do: sends(frame(fin|opBinary, bad)[:12]), want: "drop deadline_exceeded, close 1008", within: pacePatience},
		{name: "half a hello", at: upgraded, do: sends(frame(fin|opBinary, hello("x"))[:12]), want: "drop deadline_exceeded, close 4004"},
		{name: "a large message, dripping", at: welcomed, do: func(c *client) {
			c.send(join(frameHead(fin|opBinary, maskBit, 1<<20), zeros(4)))
			drips(100, 100*time.Millisecond, zeros(100))(c)
		}, want: "drop deadline_exceeded, close 1008", within: pacePatience},
		{name: "a first fragment and silence", at: welcomed, do: sends(frame(opBinary, bad)), want: "drop deadline_exceeded, close 1008", within: pacePatience},
		{name: "silence", at: welcomed, do: sends(nil), want: "drop keepalive_timeout, close 4068", within: idle + 2*time.Second + goodbye},
		{name: "the line cut inside a message", at: welcomed, do: func(c *client) {
			c.send(frame(fin|opBinary, bad)[:9])
			_ = c.raw.Close()
		}, want: "closed"},

		// Control frames.
		{name: "a hundred pings", at: welcomed, do: sends(repeat(frame(fin|opPing, []byte("x")), 100)), want: "lives"},
		{name: "a flood of pings", at: welcomed, do: drips(600, 0, repeat(frame(fin|opPing, nil), 100)), want: "drop resource_exhausted, close 1008"},
		{name: "a flood of pings before the hello", at: upgraded, do: drips(600, 0, repeat(frame(fin|opPing, nil), 100)), want: "drop resource_exhausted, close 1008"},
		{name: "a flood of long pings", at: welcomed, do: drips(1<<10, 0, repeat(frame(fin|opPing, zeros(125)), 50)), want: "drop resource_exhausted, close 1008"},
		{name: "a flood of pongs", at: welcomed, do: drips(600, 0, repeat(frame(fin|opPong, nil), 100)), want: "drop resource_exhausted, close 1008"},
		{name: "a flood of pings inside a message", at: welcomed, do: func(c *client) {
			c.send(frame(opBinary, nil))
			drips(600, 0, repeat(frame(fin|opPing, nil), 100))(c)
		}, want: "drop resource_exhausted, close 1008"},
		{name: "a pong that nobody asked for", at: welcomed, do: sends(frame(fin|opPong, []byte("busd"))), want: "lives"},

		// Goodbyes.
		{name: "close", at: welcomed, do: sends(coded(1000, "bye")), want: "close 1000"},
		{name: "close without a code", at: welcomed, do: sends(closing()), want: "close 1000"},
		{name: "close before the hello", at: upgraded, do: sends(coded(1000, "")), want: "close 1000"},
		{name: "close of one byte", at: welcomed, do: sends(closing(3)), want: "close 1000"},
		{name: "close 0", at: welcomed, do: sends(coded(0, "")), want: "close 1002"},
		{name: "close 999", at: welcomed, do: sends(coded(999, "")), want: "close 1002"},
		{name: "close 1005", at: welcomed, do: sends(coded(1005, "")), want: "close 1002"},
		{name: "close 1006", at: welcomed, do: sends(coded(1006, "")), want: "close 1002"},
		{name: "close 1015", at: welcomed, do: sends(coded(1015, "")), want: "close 1002"},
		{name: "close 5000", at: welcomed, do: sends(coded(5000, "")), want: "close 1002"},
		{name: "close 65535", at: welcomed, do: sends(coded(65535, "")), want: "close 1002"},
		{name: "close with a reason that is not UTF-8", at: welcomed, do: sends(coded(1000, "\xff\xfe")), want: "close 1002"},
		{name: "close 4999", at: welcomed, do: sends(coded(4999, "")), want: "close 1000"},
		{name: "close and keep talking", at: welcomed, do: func(c *client) {
			c.send(join(coded(1000, ""), frame(fin|opBinary, c.data("Ping", ping(forbidden)))))
			drips(64<<10, time.Millisecond, repeat(frame(fin|opBinary, bad), 1000))(c)
		}, want: "close 1000"},
		{name: "a message and close in one write", at: welcomed, do: func(c *client) {
			c.send(join(frame(fin|opBinary, c.data("Ping", ping(1))), coded(1000, "")))
		}, want: "close 1000"},
		{name: "HTTP after the upgrade", at: upgraded, do: sends(plain("GET", pingPath)), want: "close 1002"},
		{name: "garbage after the upgrade", at: upgraded, do: sends(repeat([]byte{0x55, 0xaa, 0x00}, 500)), want: "close 1002"},
		{name: "a valid message after all of it", at: welcomed, do: func(c *client) { c.n++; c.message(valid) }, want: "lives"},
	})
}

// fragments cuts a message into pieces of n bytes.
func fragments(b []byte, n int) []byte {
	var all []byte
	for first := byte(opBinary); ; first = opContinue {
		if len(b) <= n {
			return append(all, frame(fin|first, b)...)
		}
		all, b = append(all, frame(first, b[:n])...), b[n:]
	}
}
