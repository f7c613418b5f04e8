"""Checks a busd with DIRAC's client: check.py URL DIRECTORY.

The directory has ca.pem, and for each of user, admin, stranger, host, trusted and
proxy a file NAME.pem with certificate chain and key.
"""

import concurrent.futures
import datetime
import math
import os
import sys
import tempfile
import time

import requests

import jencode
from tornado import S_OK, TornadoClient

URL, DIR = sys.argv[1], sys.argv[2]
CA = os.path.join(DIR, "ca.pem")
USER_DN = "/C=ch/O=DIRAC/OU=DIRAC CI/CN=ciuser"


def client(who, **kwargs):
    return TornadoClient(URL, CA, os.path.join(DIR, who + ".pem"), **kwargs)


def want(got, expected, what=""):
    if got != expected:
        raise AssertionError(f"{what}: got {got!r}, want {expected!r}")


def value(result):
    if not result["OK"]:
        raise AssertionError(f"got {result!r}, want OK")
    return result["Value"]


def error(result, number, text):
    want(result["OK"], False, str(result))
    want(result["Errno"], number, str(result))
    if text not in result["Message"]:
        raise AssertionError(f"got {result['Message']!r}, want {text!r} in it")


def ping():
    answer = value(client("user").ping())
    want(sorted(answer), ["cpu times", "host uptime", "load", "name", "service start time", "service uptime", "time", "version"])
    want(sorted(answer["cpu times"]), ["children system time", "children user time", "elapsed real time", "system time", "user time"])
    want(answer["name"], "Framework/Conformance")
    if abs((datetime.datetime.utcnow() - answer["time"]).total_seconds()) > 60:
        raise AssertionError(f"time is {answer['time']}")
    for name, number in answer["cpu times"].items():
        want(type(number), float, name)
    for name in ("host uptime", "service uptime"):
        want(type(answer[name]), int, name)


def ping_of_a_stranger():
    value(client("stranger").ping())


def ping_of_nobody():
    value(TornadoClient(URL, CA).ping())


def echo():
    c = client("user")
    for v in [None, True, False, 0, 1, -1, 2**31, 2**53 + 1, 2**63 - 1, -2**63, 2**70, 1.0, 2.5, 1e16, -0.0, 1.5e-07, 1e300,
              "", "é☃ &=+%", "😀\x7f", "\ud800", "a\x00b", " blank ", [], [1, [2]], {}, {"a": 1, "2": "b", "null": 3}, {"": ""},
              datetime.datetime(2020, 1, 2, 3, 4, 5), datetime.date(2020, 1, 2), b"", b"\x00\xff", b"x" * 100_000,
              math.inf, -math.inf, [[[[[[[[1]]]]]]]], list(range(5000)), {"k": [1, {"d": datetime.date(1999, 12, 31)}]}]:
        got = value(c.echo(v))
        want(got, v)
        want(type(got), type(v), repr(v)[:50])
    if not math.isnan(value(c.echo(math.nan))):
        raise AssertionError("NaN does not come back")
    want(math.copysign(1, value(c.echo(-0.0))), -1.0)


def echo_drops_what_json_does():
    c = client("user")
    want(value(c.echo((1, (2,)))), [1, [2]])
    want(value(c.echo({2: 2, None: 3, True: 4, 1.5: 5})), {"2": 2, "null": 3, "true": 4, "1.5": 5})
    want(value(c.echo(datetime.datetime(2020, 1, 2, 3, 4, 5, 678901))), datetime.datetime(2020, 1, 2, 3, 4, 5))


def order_of_keys():
    want(list(value(client("user").echo({"z": 1, "a": 2, "m": 3}))), ["z", "a", "m"])


def whoami():
    me = value(client("user").whoami())
    for key, v in {"DN": USER_DN, "subject": USER_DN, "username": "ciuser", "group": "dirac_user", "properties": ["NormalUser"],
                   "isProxy": False, "isLimitedProxy": False}.items():
        want(me[key], v, key)
    want(type(me["secondsLeft"]), int)
    if "issuer" not in me or "x509Chain" in me:
        raise AssertionError(str(me))


def whoami_of_a_host():
    me = value(client("host", useCertificates=True).whoami())
    want((me["username"], me["group"], me["extraCredentials"]), ("ci-host", "hosts", "hosts"))


def whoami_with_a_proxy():
    me = value(client("proxy").whoami())
    want((me["isProxy"], me["DN"], me["identity"], me["group"], me["username"]), (True, USER_DN, USER_DN, "dirac_user", "ciuser"))
    if not me["subject"].startswith(USER_DN + "/CN="):
        raise AssertionError(me["subject"])


def whoami_of_a_stranger():
    error(client("stranger").whoami(), 13, "No access to " + URL)


def whoami_of_nobody():
    error(TornadoClient(URL, CA).whoami(), 13, "No access to")


def arguments():
    want(value(client("user").add(1, 2)), 3)


def wrong_arguments():
    c = client("user")
    for args, words in [((), "add"), ((1,), "add"), ((1, 2, 3), "add"), ((1, "x"), "b"), ((1.5, 2), "a"), ((True, 2), "a"),
                        ((2**70, 1), "a"), ((None, 1), "a")]:
        result = c.add(*args)
        error(result, 0, "400 Client Error")
        if words not in result["Message"]:
            raise AssertionError(f"{args}: {result['Message']}")


def unknown_method():
    error(client("user").nosuch(), 38, "nosuch is not implemented")
    error(TornadoClient(URL, CA).nosuch(), 38, "nosuch is not implemented")
    for name in ("__class__", "export_ping", "_private", "Init"):
        error(client("user").executeRPC(name), 38, "is not implemented")


def unknown_service():
    for path in ("/Framework/Nothing", "/Framework/Conformance/", "/framework/conformance"):
        c = TornadoClient(URL.rsplit("/", 2)[0] + path, CA, os.path.join(DIR, "user.pem"))
        error(c.ping(), 0, "404 Client Error")


def results():
    c = client("user")
    error(c.fail("no luck"), 0, "no luck")
    want(c.fail("no luck")["Message"], "no luck")
    error(c.failWith(2, "no luck"), 2, "No such file or directory ( 2 : no luck)")
    error(c.refuse(), 2, "no such thing")
    want(value(c.nothing()), None)
    if "only the log" in str(c.secret()):
        raise AssertionError("an inner error is told")
    error(c.crash(), 0, "500 Server Error")


def rules():
    user, admin = client("user"), client("admin")
    error(user.admin(), 13, "No access")
    error(admin.admin(), 13, "No access")  # in the default group
    want(value(client("admin", extraCredentials="dirac_admin").admin()), "done")
    want(value(client("admin", extraCredentials="dirac_admin").admin()), "done", "the second time")
    error(client("user", extraCredentials="dirac_admin").admin(), 13, "No access")
    want(value(user.users()), "done")
    error(client("admin", extraCredentials="dirac_admin").users(), 13, "No access")
    error(client("admin", extraCredentials="dirac_admin").users(), 13, "No access")
    want(value(client("stranger").anybody()), "done")
    want(value(TornadoClient(URL, CA).anybody()), "done")


def forwarded():
    def ask(who):
        return client(who, delegatedDN=USER_DN, delegatedGroup="dirac_user").whom()

    want(value(ask("trusted")), {"user": "ciuser", "group": "dirac_user", "dn": USER_DN, "by": "trusted-host"})
    error(ask("host"), 13, "No access")
    error(ask("admin"), 13, "No access")
    error(client("trusted", delegatedDN=USER_DN, delegatedGroup="dirac_admin").whom(), 13, "No access")


def files():
    c = client("user")
    with tempfile.TemporaryDirectory() as d:
        source, copy = os.path.join(d, "source"), os.path.join(d, "copy")
        content = os.urandom(1 << 20)
        with open(source, "wb") as f:
            f.write(content)
        want(value(c.sendFile(source, "a file"))["size"], len(content))
        began = time.monotonic()
        want(c.receiveFile(copy, "a file"), S_OK())
        took = time.monotonic() - began
        with open(copy, "rb") as f:
            want(f.read() == content, True, "the copy is the file")
        if took > 1:
            raise AssertionError(f"1 MiB took {took:.1f} s")
        want(value(c.sendFile(os.devnull, "an empty file"))["size"], 0)
        want(c.receiveFile(copy, "an empty file"), S_OK())
        want(os.path.getsize(copy), 0)
        lost = os.path.join(d, "lost")
        want(c.receiveFile(lost, "no file")["OK"], False)
        want(os.path.exists(lost), False, "a file of an error")


def stubs():
    c = client("user")
    result = c.add(20, 22)
    want(result["rpcStub"][1:], ("add", [20, 22]))
    want(value(c.executeRPCStub(result["rpcStub"])), 42)


def parallel():
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        clients = [client("user") for _ in range(8)]
        sums = list(pool.map(lambda i: value(clients[i % 8].add(i, i)), range(400)))
    want(sums, [2 * i for i in range(400)])


def compressed():
    r = client("user").session.post(URL, data={"method": "echo", "args": jencode.encode(["x" * 5000])})
    want((r.headers.get("Content-Encoding"), r.headers.get("Vary")), ("gzip", "Accept-Encoding"))
    want(r.json(), {"OK": True, "Value": "x" * 5000})


def kept_alive_beside_bad_handshakes():
    c = client("user")
    value(c.ping())
    for _ in range(15):
        try:
            TornadoClient(URL, CA, os.path.join(DIR, "unbelieved.pem")).ping()
        except requests.RequestException:
            pass
        value(c.ping())


CHECKS = [
    ping, ping_of_a_stranger, ping_of_nobody, echo, echo_drops_what_json_does, order_of_keys, whoami, whoami_of_a_host, whoami_with_a_proxy,
    whoami_of_a_stranger, whoami_of_nobody, arguments, wrong_arguments, unknown_method, unknown_service, results, rules, forwarded,
    files, stubs, parallel, compressed, kept_alive_beside_bad_handshakes,
]

failed = 0
for check in CHECKS:
    began = time.monotonic()
    try:
        check()
        print("ok", check.__name__, f"{time.monotonic() - began:.2f} s", flush=True)
    except Exception as e:  # each is reported, and none hides another
        failed += 1
        print("FAILED", check.__name__, f"{type(e).__name__}: {e}"[:2000], flush=True)
sys.exit(1 if failed else 0)
