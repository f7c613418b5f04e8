"""Holds a running service to docs/protocol.md, by the client in msgbus.py.

usage: check.py HOST:PORT DIRECTORY

DIRECTORY holds ca.crt, client.crt and client.key. The server has the services
Framework/PingPong and Test/Foreign. Each check that holds prints a line; the
first that does not ends the program. When it prints "stop the server", it wants
just that.
"""

import asyncio
import http.client
import json
import random
import sys
import time


import msgbus

ADDRESS, DIRECTORY = sys.argv[1], sys.argv[2]
PINGPONG, FOREIGN = (f"wss://{ADDRESS}/{name}" for name in ("Framework/PingPong", "Test/Foreign"))


def context(certificate=True):
    if certificate:
        return msgbus.tls(f"{DIRECTORY}/ca.crt", f"{DIRECTORY}/client.crt", f"{DIRECTORY}/client.key")
    return msgbus.tls(f"{DIRECTORY}/ca.crt")


def client(instance="i1", url=PINGPONG, **hello):
    return msgbus.Client(url, context(), instance, **hello)


def get(path, method="GET", certificate=True, **headers):
    connection = http.client.HTTPSConnection(ADDRESS, context=context(certificate), timeout=10)
    connection.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def equal(what, got, want):
    if got != want:
        raise AssertionError(f"{what}: got {got!r}, want {want!r}")


async def refused(what, attempt, code, retry, close_code=None):
    try:
        await attempt
    except msgbus.Dropped as e:
        equal(what, (e.code, e.retry, e.close_code), (code, retry, close_code or 4000 + code))
        return e
    raise AssertionError(f"{what}: welcomed")


async def dropped(what, c, code, retry="after", close_code=None):
    why = await asyncio.wait_for(asyncio.shield(c.dropped), 10)
    c.stop()
    equal(what, (why.code, why.retry, why.close_code), (code, retry, close_code or 4000 + code))
    return why


async def status(what, url, certificate, want, **options):
    c = msgbus.Client(url, context(certificate), "i1")
    try:
        await c.connect(**options)
    except msgbus.Refused as e:
        equal(what, e.status, want)
        return
    raise AssertionError(f"{what}: welcomed")


async def discovers_the_contract():
    c = await client().connect()
    equal("service", c.contract["service"], "Framework/PingPong")
    equal("messages", {m["name"]: m["from"] for m in c.contract["messages"]}, {"Ping": "client", "Pong": "service"})
    equal("fingerprint", msgbus.fingerprint(c.contract), c.welcome["fingerprint"])
    equal("identity", c.welcome["identity"], "dns:foreign/i1")
    answer, body = get("/Framework/PingPong")
    equal("GET", (answer.status, json.loads(body)), (200, c.contract))
    equal("ETag", answer.getheader("ETag").strip('"'), c.welcome["fingerprint"])
    answer, body = get("/Framework/PingPong", If_None_Match=answer.getheader("ETag"))
    equal("GET again", (answer.status, body), (304, b""))
    await c.close()
    known = await client(fingerprint=c.welcome["fingerprint"]).connect()
    equal("contract that is known", known.contract, None)
    await known.close()


async def computes_any_fingerprint():
    c = await client(url=FOREIGN).connect()
    equal("fingerprint", msgbus.fingerprint(c.contract), c.welcome["fingerprint"])
    await c.close()


async def pings():
    c = await client().connect()
    pongs = asyncio.Queue()

    async def pong(attrs):
        pongs.put_nowait(attrs["id"])

    c.on("Pong", pong)
    for n in range(1000):
        await c.send("Ping", {"id": n})
    for n in range(1000):
        equal("pong", await asyncio.wait_for(pongs.get(), 10), n)
    equal("2^53 + 1", await c.request("Ping", {"id": 2**53 + 1}), ("Pong", {"id": 2**53 + 1}))
    many = [await c.begin("Ping", {"id": n}) for n in range(500)]
    equal("many", [(await f)[1]["id"] for _, f in many], list(range(500)))
    await c.close()


async def waits_for_acks():
    c = await client().connect()
    c.on("Pong", ignore)
    begin = time.monotonic()
    number = await c.send("Ping", {"id": 1}, acked=True)
    if time.monotonic() - begin > 0.5:
        raise AssertionError("an ack that was asked for took longer than half a second")
    equal("number", number, 1)
    for n in range(63):
        await c.send("Ping", {"id": n})
    await c.close()
    equal("last ack", c.acked, 64)
    # Its credit comes back as handlers finish, which may be after the ack.
    if c.released % 64 or c.released > 64 * 64:
        raise AssertionError(f"credit given back for 64 small messages: got {c.released}")


async def ignore(_):
    return None


async def answers_the_service():
    c = await client(url=FOREIGN).connect()

    async def question(attrs):
        if attrs["text"] == "fail":
            raise msgbus.Failed(9, "not now")
        return "Ask", {"text": attrs["text"] + "!"}

    c.on("Question", question)
    equal("answer", await c.request("Ask", {"text": "why"}), ("Ask", {"text": "why!"}))
    try:
        await c.request("Ask", {"text": "fail"})
        raise AssertionError("the failure was not passed on")
    except msgbus.Failed as e:
        equal("failure", (e.code, e.reason), (9, "not now"))
    await c.close()


async def cancels():
    c = await client(url=FOREIGN).connect()
    number, future = await c.begin("Wait", {})
    await c.cancel(number)
    _, late = await c.begin("Wait", {}, timeout_ms=100)
    for f, code in ((future, 1), (late, 4)):
        try:
            await asyncio.wait_for(f, 10)
            raise AssertionError("an answer to what was canceled")
        except msgbus.Failed as e:
            equal("code", e.code, code)
    await c.close()


async def is_refused():
    e = await refused("bad instance", client("../i1").connect(), 3, "never")
    equal("no way back", msgbus.pause(e, 0, False), None)
    await refused("no instance", client(None).connect(), 3, "never")
    await refused("bad credit", client(credit=1).connect(), 67, "after")
    e = await refused("the service", client(url=FOREIGN, args={"refuse": True}).connect(), 8, "after")
    equal("hint", (e.after_ms, e.spread_ms, e.reason), (2000, 3000, "not today"))
    if not 2 <= msgbus.pause(e, 7, False) <= 5:
        raise AssertionError("the pause is not what the hint says")


async def gets_statuses():
    await status("nobody", PINGPONG, False, 401)
    await status("no such service", PINGPONG + "s", True, 404)
    await status("an origin", PINGPONG, True, 403, origin="https://example.com")
    for path, method, want in (("/Framework/PingPong", "PUT", 405), ("/Framework/Pong", "GET", 404), ("/", "GET", 404)):
        answer, body = get(path, method)
        equal(f"{method} {path}", answer.status, want)
        equal("body", sorted(json.loads(body)), ["code", "reason"])
    answer, _ = get("/Framework/PingPong", method="PUT")
    equal("Allow", answer.getheader("Allow"), "GET, HEAD, POST")
    upgrade = dict(Upgrade="websocket", Connection="Upgrade", Sec_WebSocket_Version="13",
                   Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ==", Sec_WebSocket_Protocol="msgbus.v9")
    answer, body = get("/Framework/PingPong", **upgrade)
    equal("another version", (answer.status, answer.getheader("Sec-WebSocket-Protocol")), (426, "msgbus.v1"))
    equal("its code", json.loads(body)["code"], "unsupported_version")


async def resumes_nothing():
    c = await client(session="b1-42", token=bytes(32), seen=12).connect()
    equal("resumed", (c.welcome["resumed"], c.welcome.get("resume_reason")), (False, "unknown"))
    equal("ping", await c.request("Ping", {"id": 1}), ("Pong", {"id": 1}))
    await c.close()


def keeper(instance, **hello):
    return client(instance, features=["resume", "move"], **hello)


async def comes_back():
    c = await keeper("back").connect()
    equal("window", c.welcome["window_ms"], 120000)
    first = c.welcome
    await c.request("Ping", {"id": 1})
    c.cut()
    await dropped_line(c)
    number, _ = await c.begin("Ping", {"id": 2})  # waits for the next connection
    await c.connect()
    equal("resumed", (c.welcome["resumed"], c.welcome["session"], c.welcome["seen"]), (True, first["session"], 1))
    if c.welcome["token"] == first["token"] or c.welcome["trid"] == first["trid"]:
        raise AssertionError("the token or the TRID is no new one")
    equal("a request over a cut", await asyncio.wait_for(c.waiting[number], 10), ("Pong", {"id": 2}))
    await c.close()
    again = keeper("back", session=first["session"], token=first["token"], seen=0)
    await again.connect()
    equal("after a goodbye", (again.welcome["resumed"], again.welcome["resume_reason"]), (False, "unknown"))
    await again.close()


async def dropped_line(c):
    why = await asyncio.wait_for(asyncio.shield(c.dropped), 10)
    equal("the line", why.code, msgbus.UNAVAILABLE)


async def survives_cuts():
    total, cuts = 3000, 12
    c = keeper("cuts")
    got, all_here = [], asyncio.Event()

    async def pong(attrs):
        got.append(attrs["id"])
        if len(got) == total:
            all_here.set()

    c.on("Pong", pong)
    await c.connect()

    async def send():
        for n in range(total):
            await c.send("Ping", {"id": n})
            if n % 50 == 0:
                await asyncio.sleep(0.001)

    sending = asyncio.ensure_future(send())
    for _ in range(cuts):
        await asyncio.sleep(random.uniform(0, 0.03))
        c.cut()
        await dropped_line(c)
        await c.connect()
        equal("resumed", c.welcome["resumed"], True)
    await sending
    await asyncio.wait_for(all_here.wait(), 20)
    equal("pongs, once and in order", got, list(range(total)))
    await c.close()


async def moves():
    total = 1000
    c = keeper("moves")
    got, all_here = [], asyncio.Event()

    async def pong(attrs):
        got.append(attrs["id"])
        if len(got) == total:
            all_here.set()

    c.on("Pong", pong)
    await c.connect()

    async def send():
        for n in range(total):
            await c.send("Ping", {"id": n})
            if n % 20 == 0:
                await asyncio.sleep(0.001)

    sending = asyncio.ensure_future(send())
    for _ in range(3):
        await c.move()
        equal("resumed", c.welcome["resumed"], True)
    await sending
    await asyncio.wait_for(all_here.wait(), 20)
    equal("pongs, once and in order", got, list(range(total)))
    await c.close()


async def spends_its_token():
    c = await keeper("token").connect()
    first = c.welcome
    c.cut()
    await dropped_line(c)
    await c.connect()
    await c.request("Ping", {"id": 1})  # it has shown that it has the new one
    c.cut()
    await dropped_line(c)
    thief = await keeper("token", session=first["session"], token=first["token"], seen=0).connect()
    equal("resumed", (thief.welcome["resumed"], thief.welcome["resume_reason"]), (False, "unknown"))
    await thief.close()


async def fails_by_the_error_rule():
    c = await client().connect()
    for message, attrs, code, path in (
            ("Ping", {"id": "one"}, 71, "Ping.id"), ("Ping", {}, 71, "Ping.id"), ("Ping", {"id": 1, "x": 1}, 71, "Ping.x"),
            ("Pong", {"id": 1}, 12, ""), ("Pung", {}, 12, "")):
        try:
            await c.request(message, attrs)
            raise AssertionError(f"{message} {attrs} was taken")
        except msgbus.Failed as e:
            equal(f"{message} {attrs}", (e.code, e.path), (code, path))
    await c.send("Pong", {"id": 1})
    await dropped("one-way Pong", c, 12)
    equal("its error frame", [(n, e.code) for n, e in c.errors], [(6, 12)])
    c = await client().connect()
    await c.send("Ping", {"id": 1.5})
    await dropped("one-way breach", c, 71)
    equal("its error frame", [(n, e.code, e.path) for n, e in c.errors], [(1, 71, "Ping.id")])


async def is_dropped_for_what_it_breaks():
    for what, message, code, close_code in (
            ("text", "hello", 67, 1003), ("no msgpack", b"\xc1", 67, 1007), ("no frame", msgbus.pack({}), 67, 1007),
            ("unknown kind", msgbus.pack([42]), 67, None), ("part", msgbus.pack([11, 1]), 67, None),
            ("wrong number", msgbus.pack([4, 2, "Ping", {"id": 1}]), 67, None),
            ("answer to nothing", msgbus.pack([6, 1, 1, None, None]), 67, None),
            ("ack of the unsent", msgbus.pack([3, 1, 0]), 67, None),
            ("hello twice", msgbus.pack([0, {"instance": "i1"}]), 67, None),
            ("nesting", msgbus.pack([4, 1, "Ping", {"id": nested(17)}]), 67, 1007),
            ("too large", bytes((1 << 20) + 1), 67, 1009)):
        c = await client().connect()
        await c.ws.send(message)
        await dropped(what, c, code, close_code=close_code)


def nested(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    return value


async def calls():
    c = await client().connect()

    async def call(method, args):
        answer = asyncio.get_running_loop().create_future()
        await c.number([msgbus.CALL, None, method, args, 1000], answer)
        return await asyncio.wait_for(answer, 30)

    equal("by position", await call("add", b"[20, 22]"), (None, b"42"))
    equal("by name", await call("add", b'{"b": 1, "a": 2}'), (None, b"3"))
    equal("echo", await call("echo", b'[{"z": NaN, "a": 1.0}]'), (None, b'{"z": NaN, "a": 1.0}'))
    for method, args, code in (("nosuch", b"[]", 12), ("add", b"[1]", 3), ("add", b'[1, "x"]', 3), ("add", b"[1", 3)):
        try:
            await call(method, args)
            raise AssertionError(f"{method}{args} was answered")
        except msgbus.Failed as e:
            equal(method, e.code, code)
    await c.close()


async def ignores_what_is_newer():
    c = await client(features=["teleport"], colour="blue").connect()
    await c.ws.send(msgbus.pack([4, 1, "Ping", {"id": 1}, 0, 0, "new", {}]) + msgbus.pack([3, 0, 0, 0, "new"]))
    c.sent, c.spent = 1, 64
    equal("ping", await c.request("Ping", {"id": 2}), ("Pong", {"id": 2}))
    await c.close()


async def is_superseded():
    older = await client("twin").connect()
    newer = await client("twin").connect()
    why = await dropped("older", older, 66, "never")
    equal("no way back", msgbus.pause(why, 0, False), None)
    equal("newer", await newer.request("Ping", {"id": 1}), ("Pong", {"id": 1}))
    await newer.close()


async def is_told_to_come_back():
    c = await client().connect()
    mover = await keeper("mover").connect()
    _, future = await c.begin("Ping", {"id": 1})
    await future
    print("stop the server", flush=True)
    await dropped("a goaway that was answered", mover, 65, "now")
    why = await dropped("shutdown", c, 65)
    if why.spread_ms < 1000:
        raise AssertionError(f"spread: got {why.spread_ms} ms")


CHECKS = [
    discovers_the_contract, computes_any_fingerprint, pings, waits_for_acks, answers_the_service, cancels, is_refused,
    gets_statuses, resumes_nothing, comes_back, survives_cuts, moves, spends_its_token, fails_by_the_error_rule,
    is_dropped_for_what_it_breaks, calls, ignores_what_is_newer, is_superseded, is_told_to_come_back,
]


async def main():
    for check in CHECKS:
        begin = time.monotonic()
        await check()
        print(f"ok {check.__name__} ({time.monotonic() - begin:.2f} s)", flush=True)


asyncio.run(main())
