"""Events are contracts: their schemas are written down, and consumers read a part of them.

What was ever written is kept in `tests/corpus/events`, one payload for each event and version, and
has to be read for good.
"""

import dataclasses
import json
import re
from dataclasses import dataclass
from typing import ClassVar

import pytest
from django.core.management import call_command

from sagas.core import codec, upcasting
from sagas.core.events import Event
from sagas.core.schemas import schema_of, unreadable
from sagas.core.upcasting import upcasts
from sagas.outbox.subscriptions import SUBSCRIPTIONS
from sagas.streams import documents, known
from tests.architecture.source import CONTEXTS, ROOT

SCHEMAS = ROOT / "docs" / "events" / "schemas"
CORPUS = ROOT / "tests" / "corpus" / "events"
EVENTS = {(event.name, event.version): event for event in known.events()}
COMMITTED = documents.committed(SCHEMAS)
OLD = {(path.parent.name, int(path.stem)): path for path in sorted(CORPUS.glob("*/*.json"))}
# The engine listens too where contexts are detached; what it is asked is no event of theirs.
LISTENING = [one for listed in SUBSCRIPTIONS.values() for one in listed if one.context in CONTEXTS]


def named(value):
    return f"{value[0]} {value[1]}" if isinstance(value, tuple) else None


@pytest.mark.parametrize("event", EVENTS.values(), ids=lambda event: event.name)
def test_an_event_is_named_after_its_context_and_its_class(event):
    context = event.__module__.partition(".")[0]

    assert event.name == f"{context}.{event.__name__}"


def test_no_version_that_is_written_down_has_changed():
    """A new meaning is a new version; only a field with a default may come in."""
    assert list(documents.broken(SCHEMAS)) == []


def test_the_schemas_say_what_the_code_says():
    call_command("events", "schemas", "--check")

    assert list(documents.stale(SCHEMAS)) == [], "python3 manage.py events schemas --write"


@pytest.mark.parametrize("listening", LISTENING, ids=lambda one: one.handler.__qualname__)
def test_a_consumer_reads_only_what_the_producer_writes(listening):
    written = COMMITTED[listening.event, listening.version]

    assert list(unreadable(written, schema_of(listening.payload))) == []


def test_somebody_listens():
    assert LISTENING


# -- what was ever written -------------------------------------------------------------------------


def test_every_version_that_is_written_down_has_a_payload_in_the_corpus():
    assert OLD.keys() == COMMITTED.keys()


@pytest.mark.parametrize("which", OLD, ids=named)
def test_a_payload_of_the_corpus_has_the_fields_of_its_version(which):
    payload, schema = json.loads(OLD[which].read_text()), COMMITTED[which]

    assert set(schema["required"]) <= payload.keys() <= schema["properties"].keys()


@pytest.mark.parametrize("which", OLD, ids=named)
def test_what_was_ever_written_is_read_as_the_newest_version(which):
    name, version = which
    payload = json.loads(OLD[which].read_text())
    latest = known.newest()[name].version

    event = known.read_as_newest(name, version, payload)
    # Strictly: an upcaster leaves nothing behind that the new version does not know.
    assert codec.decode(type(event), upcasting.upcast(name, payload, version, latest)) == event
    if version == latest:
        assert codec.encode(event).items() >= payload.items()


# -- the rule itself -------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent(Event):
    """A parcel is on its way."""

    name: ClassVar[str] = "orders.Sent"

    parcel: str
    weight: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SentInGrams(Event):
    """A parcel is on its way."""

    name: ClassVar[str] = "orders.Sent"
    version: ClassVar[int] = 2

    parcel: str
    grams: int


@pytest.fixture
def telling(monkeypatch, tmp_path):
    """The code has one event, as it is told, and a directory of what is written down."""
    monkeypatch.setattr(upcasting, "UPCASTERS", {})

    def tell(*told):
        for module in (known, documents):
            monkeypatch.setattr(module, "events", lambda: iter(told))
            monkeypatch.setattr(module, "newest", lambda: {event.name: event for event in told})

    tell(Sent)
    assert [path.name for path in documents.write(tmp_path)] == ["orders.Sent.v1.json"]
    return tell


def changed(*fields):
    return dataclasses.make_dataclass(
        "Sent", fields, bases=(Event,), kw_only=True, namespace={"name": "orders.Sent"}
    )


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ([("parcel", str)], "weight is gone"),
        ([("parcel", str), ("weight", str)], "weight was integer and is string"),
        ([("parcel", str), ("weight", int), ("to", str)], "to is new and has no default"),
    ],
)
def test_another_meaning_of_a_version_is_refused_and_not_written(telling, tmp_path, fields, said):
    telling(changed(*fields))

    [refused] = documents.broken(tmp_path)
    assert refused.startswith(f"orders.Sent version 1: {said}. Give it version 2")
    with pytest.raises(SystemExit) as exited:
        call_command("events", "schemas", "--write", "--directory", str(tmp_path))
    assert exited.value.code == 1
    assert documents.committed(tmp_path)["orders.Sent", 1]["required"] == ["parcel", "weight"]


def test_a_further_field_with_a_default_is_written_into_the_version(telling, tmp_path):
    optional = ("to", str, dataclasses.field(default=""))
    telling(changed(("parcel", str), ("weight", int), optional))

    assert list(documents.broken(tmp_path)) == []
    assert list(documents.stale(tmp_path)) == ["orders.Sent.v1.json is not what the code says"]
    call_command("events", "schemas", "--write", "--directory", str(tmp_path))
    assert list(documents.stale(tmp_path)) == []


def test_a_new_version_needs_an_upcaster_from_the_one_before(telling, tmp_path):
    telling(SentInGrams)
    assert list(documents.broken(tmp_path)) == [
        "orders.Sent version 1: no upcaster leads to version 2"
    ]

    @upcasts("orders.Sent", 1)
    def to_grams(payload):
        return {"parcel": payload["parcel"], "grams": payload["weight"] * 1000}

    assert list(documents.broken(tmp_path)) == []
    call_command("events", "schemas", "--write", "--directory", str(tmp_path))
    assert documents.committed(tmp_path).keys() == {("orders.Sent", 1), ("orders.Sent", 2)}
    read = known.read_as_newest("orders.Sent", 1, {"parcel": "p", "weight": 2})
    assert read == SentInGrams(parcel="p", grams=2000)


def test_the_upcaster_of_the_document_turns_kilograms_into_grams(telling):
    text = (ROOT / "docs" / "events.md").read_text()
    [example] = re.findall(r"^```python$(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    exec(example, {})

    read = upcasting.upcast("orders.ParcelSent", {"parcel": "p", "weight": 2}, 1, 2)
    assert read == {"parcel": "p", "grams": 2000}


def test_an_event_whose_class_is_gone_is_named(telling, tmp_path):
    telling()

    [said] = documents.broken(tmp_path)
    assert said == "orders.Sent version 1: its class is gone, and rows of it are not"
