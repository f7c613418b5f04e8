"""JEncode as DIRAC's clients and servers speak it, written from a description of
what they put on the wire: json with a hook for each direction.

Each line of the input is a word and a text; each gets one line.
  read TEXT    the value, written again; or "error"
  make SEED    a random value, written
"""

import base64
import datetime
import json
import random
import struct
import sys

TIME, DATE = "%Y-%m-%d %H:%M:%S", "%Y-%m-%d"


class Serializable:
    """Stands for any class that Python would load."""

    def __init__(self, name, module, fields):
        self.name, self.module, self.fields = name, module, fields


def default(v):
    if isinstance(v, datetime.datetime):
        return {"__dCls": "dt", "obj": v.strftime(TIME)}
    if isinstance(v, datetime.date):
        return {"__dCls": "date", "obj": v.strftime(DATE)}
    if isinstance(v, bytes):
        return {"__dCls": "b64", "obj": base64.b64encode(v).decode()}
    if isinstance(v, Serializable):
        return {"__dCls": v.name, "__dMod": v.module, **v.fields}
    raise TypeError(type(v))


def hook(v):
    name = v.pop("__dCls", None)
    if not name:
        return v
    if name == "dt":
        return datetime.datetime.strptime(v["obj"], TIME)
    if name == "date":
        return datetime.datetime.strptime(v["obj"], DATE).date()
    if name == "b64":
        return base64.b64decode(v["obj"])
    return Serializable(name, v.pop("__dMod"), v)


def encode(v):
    return json.dumps(v, default=default)


def decode(text):
    return json.loads(text, object_hook=hook)


def in_order(v):
    """The keys of maps in order, and without what cannot be told apart in Go."""
    if isinstance(v, dict):
        return {k: in_order(v[k]) for k in sorted(v)}
    if isinstance(v, list):
        return [in_order(e) for e in v]
    if isinstance(v, Serializable):
        return Serializable(v.name, v.module, in_order(v.fields))
    return v


def text(r):
    planes = [(0, 0x7F), (0x20, 0x7E), (0x80, 0x7FF), (0x800, 0xD7FF), (0xE000, 0xFFFF), (0x10000, 0x10FFFF)]
    return "".join(chr(r.randint(*r.choice(planes))) for _ in range(r.choice([0, 1, 3, 9, 30])))


def number(r):
    kind = r.randrange(5)
    if kind == 0:
        return struct.unpack("<d", r.randbytes(8))[0]
    if kind == 1:
        return r.choice([0.0, -0.0, 1.0, 1e16, 1e-4, 9.999e-5, 1e22, 1e23, 5e-324, 2.0**53, float("inf"), float("-inf"), float("nan")])
    if kind == 2:
        return float(r.randint(-(10**18), 10**18))
    if kind == 3:
        return r.randint(-(10**39), 10**39) >> r.randrange(130)
    return round(r.uniform(-1e5, 1e5), r.randrange(8))


def value(r, depth=0):
    kind = r.randrange(12 if depth < 5 else 9)
    if kind == 0:
        return r.choice([None, True, False])
    if kind < 3:
        return text(r)
    if kind < 6:
        return number(r)
    if kind == 6:
        return datetime.datetime(r.randint(1000, 9999), r.randint(1, 12), r.randint(1, 28), r.randrange(24), r.randrange(60), r.randrange(60), r.randrange(10**6))
    if kind == 7:
        return datetime.date(r.randint(1000, 9999), r.randint(1, 12), r.randint(1, 28))
    if kind == 8:
        return r.randbytes(r.randrange(20))
    few = range(r.randrange(5))
    if kind == 9:
        return [value(r, depth + 1) for _ in few]
    if kind == 10:
        return {text(r): value(r, depth + 1) for _ in few}
    return Serializable("Operation", "DIRAC.Client.Operation", {text(r): value(r, depth + 1) for _ in few})


def answer(word, rest):
    if word == "make":
        return encode(in_order(value(random.Random(int(rest)))))
    try:
        return encode(in_order(decode(rest)))
    except Exception:
        return "error"


for line in sys.stdin.buffer:
    print(answer(*line.decode().rstrip("\n").split(" ", 1)))
