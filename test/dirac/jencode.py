"""DIRAC's JSON, as its Core/Utilities/JEncode.py has it."""

import base64
import datetime
import json

DATETIME = "%Y-%m-%d %H:%M:%S"
DATE = "%Y-%m-%d"


class Encoder(json.JSONEncoder):
    def default(self, o):
        if isinstance(o, datetime.datetime):
            return {"__dCls": "dt", "obj": o.strftime(DATETIME)}
        if isinstance(o, datetime.date):
            return {"__dCls": "date", "obj": o.strftime(DATE)}
        if isinstance(o, bytes):
            return {"__dCls": "b64", "obj": base64.b64encode(o).decode()}
        return super().default(o)


def hook(d):
    cls = d.pop("__dCls", None)
    if not cls:
        return d
    if cls == "dt":
        return datetime.datetime.strptime(d["obj"], DATETIME)
    if cls == "date":
        return datetime.datetime.strptime(d["obj"], DATE).date()
    if cls == "b64":
        return base64.b64decode(d["obj"])
    raise TypeError(f"{cls} is not serialisable")


def encode(value):
    return json.dumps(value, cls=Encoder)


def decode(text):
    return json.loads(text, object_hook=hook)
