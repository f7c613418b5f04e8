"""A client of busd in Python, written from docs/protocol.md alone.

It needs msgpack and websockets (10 or newer; on Debian python3-msgpack and
python3-websockets). It is there to show that the page is enough, and is tested
with it; it is small rather than complete: it comes back to its session, and
moves, when it is told to, and not by itself.
"""

import asyncio
import decimal
import hashlib
import json
import random
import re
import ssl
import time

import msgpack
import websockets
import websockets.exceptions

HELLO, WELCOME, DROP, ACK, DATA, REQUEST, ANSWER, ERROR, CANCEL, GOAWAY, CALL, PART = range(12)
NUMBERED = {DATA, REQUEST, ANSWER, ERROR, CALL}
CONSUMING = {DATA, REQUEST, CALL}
LEAST = {HELLO: 2, WELCOME: 2, DROP: 2, ACK: 3, DATA: 4, REQUEST: 4, ANSWER: 5, ERROR: 4, CANCEL: 2, GOAWAY: 2, CALL: 4}

UNIMPLEMENTED, UNAVAILABLE, GOING_AWAY, PROTOCOL_ERROR, KEEPALIVE_TIMEOUT = 12, 14, 65, 67, 68
SESSION_LOST = 70
ENDS_THE_SESSION = {64, GOING_AWAY, 66, PROTOCOL_ERROR, 73}


class Dropped(Exception):
    """The connection has ended, or was refused: code, reason, and when to come back."""

    def __init__(self, code, reason, retry="after", after_ms=0, spread_ms=0, close_code=None):
        super().__init__(f"{code}: {reason} (retry: {retry})")
        self.code, self.reason, self.retry = code, reason, retry
        self.after_ms, self.spread_ms, self.close_code = after_ms, spread_ms, close_code


class Failed(Exception):
    """A request, or a one-way message, has failed at the service."""

    def __init__(self, code, reason, path=""):
        super().__init__(f"{code}: {path}: {reason}")
        self.code, self.reason, self.path = code, reason, path


class Refused(Exception):
    """The upgrade got a status other than 101."""

    def __init__(self, status):
        super().__init__(f"HTTP {status}")
        self.status = status


def cost(length):
    return max(64, length)


def pack(value):
    return msgpack.packb(value, use_bin_type=True, datetime=True)


def frames(message):
    """Yields each frame of a WebSocket message with its length."""
    unpacker = msgpack.Unpacker(raw=False, strict_map_key=True, timestamp=3, max_buffer_size=len(message))
    unpacker.feed(message)
    before = 0
    while before < len(message):
        frame = unpacker.unpack()
        yield frame, unpacker.tell() - before
        before = unpacker.tell()


def tls(ca, cert=None, key=None):
    context = ssl.create_default_context(cafile=ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["http/1.1"])
    if cert:
        context.load_cert_chain(cert, key)
    return context


def fingerprint(document):
    """Computes the fingerprint of a contract's document."""

    def typed(t):
        out = {"type": t["type"]}
        for k in ("min", "max"):
            if k in t:
                out[k] = t[k] if t["type"] == "int" else Bound(t[k])
        if t.get("nonfinite"):
            out["nonfinite"] = True
        for k in ("minlen", "maxlen"):
            if k in t:
                out[k] = t[k]
        if t.get("pattern"):
            out["pattern"] = t["pattern"]
        if t.get("values"):
            out["values"] = sorted(t["values"], key=encoded)
        if "elem" in t:
            out["elem"] = typed(t["elem"])
        if t.get("attrs"):
            out["attrs"] = attributes(t["attrs"])
        return out

    def attribute(a):
        out = {"name": a["name"], **typed(a)}
        if a.get("optional"):
            out["optional"] = True
        return out

    def attributes(attrs):
        return sorted(map(attribute, attrs), key=named)

    def message(m):
        out = {"name": m["name"], "from": m["from"]}
        if m.get("class", "must") != "must":
            out["class"] = m["class"]
        if m.get("key"):
            out["key"] = m["key"]
        return {**out, "attrs": attributes(m.get("attrs", []))}

    def method(m):
        out = {"name": m["name"], "params": [attribute(p) for p in m.get("params", [])]}
        if "result" in m:
            out["result"] = typed(m["result"])
        for key in ("upload", "download"):
            if m.get(key):
                out[key] = True
        return out

    canonical = {"service": document["service"], "messages": sorted(map(message, document["messages"]), key=named)}
    if document.get("methods"):
        canonical["methods"] = sorted(map(method, document["methods"]), key=named)
    text = json.dumps(canonical, ensure_ascii=False, separators=(",", ":"))
    text = text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    text = re.sub(r'\{"float":"([^"]*)"\}', r"\1", text)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def encoded(text):
    return text.encode()


def named(part):
    return encoded(part["name"])


class Bound(dict):
    """The bound of a float, as its text: json would write another."""

    def __init__(self, value):
        sign, digits, exponent = decimal.Decimal(repr(float(value))).normalize().as_tuple()
        exponent += len(digits) - 1  # of the first digit
        digits = "".join(map(str, digits))
        if -4 <= exponent < 0:
            text = "0." + "0" * (-exponent - 1) + digits
        elif 0 <= exponent < 6:
            digits = digits.ljust(exponent + 1, "0")
            text = digits[:exponent + 1] + ("." + digits[exponent + 1:] if digits[exponent + 1:] else "")
        else:
            text = digits[0] + ("." + digits[1:] if digits[1:] else "") + f"e{exponent:+03d}"
        super().__init__(float=("-" if sign and float(value) else "") + text)


def pause(drop, failures, last_was_now):
    """Says how long to wait before the next attempt, in seconds; None is for ever."""
    if drop.retry == "never":
        return None
    if drop.after_ms or drop.spread_ms:
        return (drop.after_ms + random.uniform(0, max(drop.spread_ms, 500))) / 1000
    if drop.retry == "now" and not last_was_now:
        return 0
    return random.uniform(0, min(30, 0.5 * 2**failures))


class Client:
    """A client, from connect to the end; with the feature resume also over several connections."""

    def __init__(self, url, context, instance=None, **hello):
        self.url, self.context = url, context
        self.hello = {"credit": 1 << 20, "client": {"name": "foreign", "version": "1"}, **hello}
        if instance is not None:
            self.hello["instance"] = instance
        self.granted = self.hello["credit"]
        self.handlers = {}
        self.errors = []  # of one-way messages
        self.received_acks = []
        self.waiting = {}  # number of a request: future
        self.room = asyncio.Event()
        self.dropped = None  # a future: why the connection ended
        self.ws = self.ack_timer = self.session = None
        self.tasks = []
        self.begin_session()

    def begin_session(self):
        for task in self.tasks:
            task.cancel()
        self.tasks = []
        self.over = None  # why the session has ended
        self.sent = self.arrived = 0  # numbers
        self.spent = self.released = 0  # of what the service granted
        self.acked = 0
        self.kept = {}  # number: a frame that no ack covers
        self.taken_back = set()  # numbers of requests
        self.back = 0  # credit given back to the service
        self.told = (0, 0)  # what the last ack said
        self.unacked_frames = self.unacked_bytes = 0
        self.live = False  # frames are written as they are numbered
        self.held = False  # no message is begun any more
        self.queue = asyncio.Queue()

    async def open(self, **options):
        try:
            ws = await websockets.connect(
                self.url, ssl=self.context, subprotocols=["msgbus.v1"], compression=None, max_size=4 << 20,
                ping_interval=None, close_timeout=6, **options)
        except websockets.exceptions.InvalidHandshake as e:
            status = getattr(e, "status_code", None) or getattr(getattr(e, "response", None), "status_code", None)
            raise Refused(status) from e
        if ws.subprotocol != "msgbus.v1":
            await ws.close()
            raise Dropped(74, "the server does not speak msgbus.v1")
        return ws

    async def connect(self, **options):
        """Opens the first connection, or, after a cut, the next."""
        await self.greet(await self.open(**options))
        return self

    async def move(self):
        """Opens the next connection while there is one."""
        await self.greet(await self.open(), move=True)

    async def greet(self, ws, **more):
        hello = {**self.hello, **more}
        if self.session:
            hello.update(session=self.session, token=self.welcome["token"], seen=self.arrived)
        await ws.send(pack([HELLO, hello]))
        try:
            first = await asyncio.wait_for(ws.recv(), 30)
        except websockets.exceptions.ConnectionClosed as e:
            raise self.ended(e) from e
        it = frames(first)
        frame, _ = next(it)
        if frame[0] == DROP:
            raise await self.why(ws, frame[1])
        if frame[0] != WELCOME:
            raise Dropped(PROTOCOL_ERROR, "want a welcome first")
        old, self.ws, self.welcome = self.ws, ws, frame[1]
        self.dropped = asyncio.get_running_loop().create_future()
        if self.welcome["resumed"]:
            self.next = hello["seen"] + 1
            self.forget(self.welcome["seen"])
        else:
            self.lose(Dropped(SESSION_LOST, "not resumed: " + self.welcome.get("resume_reason", "")))
            self.begin_session()
            self.next = 1
            self.credit = self.welcome["credit"]
            self.contract = json.loads(self.welcome["contract"]) if "contract" in self.welcome else None
            self.tasks.append(asyncio.ensure_future(self.deliver()))
        if "resume" in self.welcome.get("features", []):
            self.session = self.welcome["session"]
        self.tasks += [asyncio.ensure_future(t) for t in (self.read(ws, list(it)), self.keep_alive(ws))]
        await self.go_on()
        if more.get("move"):
            await self.drop(GOING_AWAY, "the client moved to another connection", old)

    async def go_on(self):
        """Writes what the service has not seen again, with the numbers that it had."""
        try:
            if self.welcome["resumed"]:
                self.told = (self.arrived, self.back)
                await self.write([ACK, *self.told])
            written = self.acked
            while written < self.sent:
                written += 1
                if written in self.kept:
                    await self.write(self.kept[written])
            self.live = True
            for number in sorted(self.taken_back):
                await self.write([CANCEL, number])
        except websockets.exceptions.ConnectionClosed:
            pass  # the reader says why

    async def why(self, ws, drop):
        """Reads the close frame that follows a drop, and makes an error of both."""
        try:
            while True:
                await ws.recv()
        except websockets.exceptions.ConnectionClosed as e:
            close_code = self.ended(e).close_code
        return Dropped(drop["code"], drop["reason"], drop.get("retry", "after"), drop.get("after_ms", 0),
                       drop.get("spread_ms", 0), close_code)

    @staticmethod
    def ended(e):
        close = getattr(e, "rcvd", None)
        code = close.code if close else 1006
        if 4000 < code < 5000:
            return Dropped(code - 4000, close.reason, close_code=code)
        known = {1000: GOING_AWAY, 1001: GOING_AWAY, 1005: GOING_AWAY, 1012: GOING_AWAY, 1002: PROTOCOL_ERROR,
                 1003: PROTOCOL_ERROR, 1007: PROTOCOL_ERROR, 1009: PROTOCOL_ERROR, 1008: 8, 1013: 8, 1011: 13,
                 1006: UNAVAILABLE}
        return Dropped(known.get(code, 2), close.reason if close else "the line ended", close_code=code)

    # Reading.

    async def read(self, ws, rest):
        try:
            for frame, length in rest:
                await self.take(frame, length)
            while True:
                message = await ws.recv()
                if isinstance(message, str):
                    raise Dropped(PROTOCOL_ERROR, "a text message")
                for frame, length in frames(message):
                    if ws is self.ws:  # else the client has moved: what is numbered comes again
                        await self.take(frame, length)
        except (websockets.exceptions.ConnectionClosed, Dropped) as e:
            if ws is self.ws:
                self.end(e if isinstance(e, Dropped) else self.ended(e))

    async def take(self, frame, length):
        kind = frame[0]
        if kind not in LEAST or len(frame) < LEAST[kind]:
            raise Dropped(PROTOCOL_ERROR, f"frame {frame}")
        if kind in NUMBERED:
            if not self.next <= frame[1] <= self.arrived + 1:
                raise Dropped(PROTOCOL_ERROR, f"number {frame[1]}: want {self.next} to {self.arrived + 1}")
            self.next = frame[1] + 1
            if frame[1] <= self.arrived:
                return  # a duplicate
            self.arrived = frame[1]
            self.unacked_frames += 1
            self.unacked_bytes += length
        if kind in (DATA, REQUEST):
            self.queue.put_nowait((frame, length))
        elif kind == ANSWER:
            _, _, re_, name, attrs = frame[:5]
            self.settle(re_, (name, attrs))
        elif kind == ERROR:
            e = frame[3]
            failure = Failed(e["code"], e["reason"], e.get("path", ""))
            if not self.settle(frame[2], failure):
                self.errors.append((frame[2], failure))
        elif kind == ACK:
            self.released = frame[2]
            self.forget(frame[1])
            self.received_acks.append((frame[1], frame[2], time.monotonic()))
            if len(frame) > 3 and frame[3] & 1:
                await self.ack(True)
        elif kind == CALL:
            await self.number([ERROR, None, frame[1], {"code": UNIMPLEMENTED, "reason": "no methods here"}])
        elif kind == GOAWAY:
            self.held = True
            await self.write([GOAWAY, {}])
        elif kind == DROP:
            raise await self.why(self.ws, frame[1])
        at_once = kind == DATA and len(frame) > 4 and frame[4] & 1
        await self.ack(at_once)

    def forget(self, seen):
        while self.acked < seen:
            self.acked += 1
            self.kept.pop(self.acked, None)
        self.room.set()

    def settle(self, number, outcome):
        self.taken_back.discard(number)
        future = self.waiting.pop(number, None)
        if future is None or future.done():
            return future is not None
        if isinstance(outcome, Failed):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
        return True

    async def deliver(self):
        while True:
            frame, length = await self.queue.get()
            kind, number, name, attrs = frame[:4]
            try:
                handler = self.handlers.get(name)
                if handler is None and kind == REQUEST:
                    raise Failed(UNIMPLEMENTED, f"nobody handles {name}")
                reply = await handler(attrs) if handler else None
                if kind == REQUEST:
                    await self.number([ANSWER, None, number, *(reply or (None, None))])
            except Failed as e:
                await self.number([ERROR, None, number, {"code": e.code, "reason": e.reason}])
            self.back += cost(length)
            await self.ack(False)

    def end(self, why):
        """Takes note of the end of the connection; its session may wait for the next."""
        if self.dropped.done():
            return
        self.live = False
        if not self.session or why.code in ENDS_THE_SESSION or why.retry == "never":
            self.lose(why)
        self.dropped.set_result(why)

    def lose(self, why):
        self.over = why
        for future in self.waiting.values():
            if not future.done():
                future.set_exception(Dropped(SESSION_LOST, "the session ended before the service answered"))
        self.waiting.clear()
        self.room.set()

    # Writing.

    async def write(self, frame):
        await self.ws.send(pack(frame))

    async def number(self, frame, future=None):
        """Numbers a frame and writes it, once there is credit for it. The future is for its answer."""
        while frame[0] in CONSUMING:
            frame[1] = self.sent + 1
            if self.spent + cost(len(pack(frame))) <= self.credit + self.released and not self.held:
                break
            self.room.clear()
            await self.room.wait()
            if self.over:
                raise self.over
        self.sent += 1
        frame[1] = number = self.sent
        if frame[0] in CONSUMING:
            self.spent += cost(len(pack(frame)))
        if future:
            self.waiting[number] = future
        self.kept[number] = frame
        if self.live:  # else it is written on the next connection
            try:
                await self.write(frame)
            except websockets.exceptions.ConnectionClosed:
                self.live = False
                if not self.session:
                    raise
        return number

    async def ack(self, at_once):
        if not self.live or (self.arrived, self.back) == self.told and not at_once:
            return
        limit = min(256 << 10, self.granted // 4)
        if at_once or self.unacked_frames >= 64 or self.unacked_bytes >= limit or self.back - self.told[1] >= limit:
            await self.ack_now()
        elif self.ack_timer is None:
            self.ack_timer = asyncio.ensure_future(self.ack_later())

    async def ack_later(self):
        await asyncio.sleep(0.5)
        self.ack_timer = None
        if self.live and (self.arrived, self.back) != self.told:
            await self.ack_now()

    async def ack_now(self):
        self.told = (self.arrived, self.back)
        self.unacked_frames = self.unacked_bytes = 0
        try:
            await self.write([ACK, *self.told])
        except websockets.exceptions.ConnectionClosed:
            pass  # the reader says why

    async def keep_alive(self, ws):
        every = self.welcome["keep_alive_ms"] / 1000
        while ws is self.ws and not self.dropped.done():
            await asyncio.sleep(every * random.uniform(0.9, 1.1))
            pong = await ws.ping()
            try:
                await asyncio.wait_for(pong, 15)
            except asyncio.TimeoutError:
                await self.drop(KEEPALIVE_TIMEOUT, "no answer to a ping")
                return

    # What programs use.

    def on(self, message, handler):
        self.handlers[message] = handler

    async def send(self, message, attrs, acked=False):
        number = await self.number([DATA, None, message, attrs] + ([1] if acked else []))
        while acked and self.acked < number:
            self.room.clear()
            await self.room.wait()
            if self.over:
                raise self.over
        return number

    async def begin(self, message, attrs, timeout_ms=30000):
        """Makes a request; returns its number, and a future for its answer."""
        frame = [REQUEST, None, message, attrs, timeout_ms]
        future = asyncio.get_running_loop().create_future()
        return await self.number(frame, future), future

    async def request(self, message, attrs):
        _, future = await self.begin(message, attrs)
        return await asyncio.wait_for(future, 30)

    async def cancel(self, number):
        self.taken_back.add(number)
        if self.live:
            await self.write([CANCEL, number])

    def cut(self):
        """Breaks the line, as a network does."""
        self.ws.transport.abort()

    async def drop(self, code, reason, ws=None):
        ws = ws or self.ws
        await ws.send(pack([DROP, {"code": code, "reason": reason, "retry": "after"}]))
        await ws.close(4000 + code)
        if ws is self.ws:
            self.end(Dropped(code, reason))

    async def close(self):
        """Says goodbye once everything that was sent has arrived."""
        while self.acked < self.sent and not self.dropped.done():
            self.room.clear()
            await asyncio.wait_for(self.room.wait(), 5)
        if not self.dropped.done():
            await self.drop(GOING_AWAY, "the client was closed")
        self.stop()

    def stop(self):
        for task in self.tasks + [self.ack_timer]:
            if task:
                task.cancel()
