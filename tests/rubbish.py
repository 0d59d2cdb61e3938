"""Messages that are wrong in one place, each of which Celery or kombu may stumble over."""

import base64
import json

from config.chaos.injections.messages import NOBODY, message


def altered(*, queue="steps", headers=None, properties=None, top=None, body=...):
    made = json.loads(message("sagas.continue_saga", [NOBODY], queue))
    made["headers"].update(headers or {})
    made["properties"].update(properties or {})
    made.update(top or {})
    if body is not ...:
        made["body"] = base64.b64encode(json.dumps(body).encode()).decode()
    return json.dumps(made).encode()


def nested(levels):
    found = []
    for _ in range(levels):
        found = [found]
    return found


DROPPED = {
    "nested": b"[" * 200_000,
    "nested argument": altered(body=[[nested(120)], {}, {}]),
    "nested header": altered(headers={"more": nested(120)}),
    "hook number": b'{"__type__": "datetime", "__value__": 5}',
    "hook text": b'{"__type__": "bytes", "__value__": 5}',
    "hook decimal": b'{"__type__": "decimal", "__value__": "x"}',
    "hook unhashable": b'{"__type__": [], "__value__": 5}',
    "task list": altered(headers={"task": []}),
    "task null": altered(headers={"task": None}),
    "task zero byte": altered(headers={"task": "a\0b"}),
    "task of old": altered(body={"task": [], "id": "1"}, top={"headers": {}}),
    "id list": altered(headers={"id": []}),
    "id surrogate": altered(headers={"id": "\udce9"}),
    "id long": altered(headers={"id": "x" * 256}),
    "root list": altered(headers={"root_id": []}),
    "shadow list": altered(headers={"shadow": []}),
    "body number": altered(body=5),
    "body null": altered(body=None),
    "body word": altered(body="args"),
    "body short": altered(body=[[]]),
    "kwargs list": altered(body=[[NOBODY], [], {}]),
    "embed number": altered(body=[[NOBODY], {}, 7]),
    "eta number": altered(headers={"eta": 5}),
    "expires list": altered(headers={"expires": []}),
    "timelimit word": altered(headers={"timelimit": "ab"}),
    "timelimit short": altered(headers={"timelimit": [1]}),
    "timelimit words": altered(headers={"timelimit": ["a", "b"]}),
    "timelimit endless": altered(headers={"timelimit": [float("inf"), None]}),
    "retries word": altered(headers={"retries": "x"}),
    "routing": altered(properties={"delivery_info": {}}),
    "reply to": altered(properties={"reply_to": 5, "correlation_id": []}),
    "tag empty": altered(properties={"delivery_tag": ""}),
    "body encoding": altered(properties={"body_encoding": "zip"}),
    "body encoding list": altered(properties={"body_encoding": []}),
    "raw body number": altered(top={"body": 5}),
    "raw body null": altered(top={"body": None}),
    "content type number": altered(top={"content-type": 5}),
    "content type data": altered(top={"content-type": "application/data"}),
    "content type text": altered(top={"content-type": "application/text"}),
    "content type empty": altered(top={"content-type": ""}),
    "content encoding number": altered(top={"content-encoding": 5}),
    "compression": altered(headers={"compression": "application/x-gzip"}),
    "pickled": altered(top={"content-type": "application/x-python-serialize"}),
    "large": altered(body=[["x" * 3_000_000], {}, {}]),
    "compression unknown": altered(headers={"compression": "zap"}),
}
LEFT_TO_CELERY = {
    "eta rubbish": altered(headers={"eta": "soon"}),
    "eta before time": altered(headers={"eta": "0001-01-01T00:00:00+14:00"}),
    "expires rubbish": altered(headers={"expires": "soon"}),
    "expires before time": altered(headers={"expires": "0001-01-01T00:00:00+14:00"}),
    "content encoding": altered(top={"content-encoding": "klingon"}),
}
