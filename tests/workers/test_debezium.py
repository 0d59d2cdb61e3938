"""Debezium, run with what docs/outbox.md says, beside the shop: what comes out of it.

Long, and only where there is a Debezium (`tests/debezium/running.py` says what it needs).
"""

import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

import pytest
from django.conf import settings
from django.db import connections

from sagas.api import Event
from sagas.outbox.pruning import prune
from sagas.outbox.relay import relay
from tests.databases import rows
from tests.debezium import document
from tests.debezium.running import Debezium, missing, on_tcp
from tests.integration.sagas.news import a_teller, grow_old, tell
from tests.processes import eventually
from tests.workers.shop import open_shop, wait_for_rest

pytestmark = [pytest.mark.long, pytest.mark.colocated, pytest.mark.timeout(300)]

TOLD = """
SELECT 'outbox.' || aggregatetype, aggregateid::text, payload, id::text, type, version::text,
    sequence::text, occurred_at, correlation_id, traceparent
FROM {}_outbox ORDER BY position
"""
PLACED = (
    "id",
    "eventType",
    "eventVersion",
    "sequence",
    "occurredAt",
    "correlationId",
    "traceparent",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Odd(Event):
    name: ClassVar[str] = "orders.TrialOdd"

    text: str
    nothing: str | None = None
    none_of_many: tuple[str, ...] = ()
    many: tuple[str | None, ...] = ("é", None)
    large: int = 2**60


@pytest.fixture(scope="module")
def debezium_is_here():
    if reason := missing():
        pytest.skip(reason)


UNDONE = """
SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
    WHERE slot_name = 'debezium_outbox';
DROP PUBLICATION IF EXISTS debezium_outbox;
DROP ROLE IF EXISTS debezium;
"""


@pytest.fixture
def debezium(debezium_is_here, committed_db, tmp_path):
    """Where everything has been done that the document asks for, but nothing is started."""
    rows(UNDONE)  # role and slot belong to the server, and outlive a run that was killed
    rows(document.statements())
    with on_tcp() as address:
        debezium = Debezium(tmp_path, address)
        yield debezium
        debezium.kill()
    rows(UNDONE)


def told():
    """Every event of the outboxes as it should come out, by its id."""
    found = [row for context in settings.CONTEXTS for row in rows(TOLD.format(context))]
    return {row[3]: (*row[:2], json.loads(row[2]), *row[3:]) for row in found}


def heard(record):
    """What the record says of an event, in the order of TOLD."""
    headers = dict(record["headers"])
    headers["occurredAt"] = datetime.fromisoformat(headers["occurredAt"])
    payload = json.loads(record["value"])
    return (record["topic"], record["key"], payload, *(headers[name] for name in PLACED))


def ids(records):
    return [record["headers"]["id"] for record in records]


def first_times(records):
    first = {}
    for each in records:
        first.setdefault(each["headers"]["id"], each)
    return list(first.values())


def numbers(records):
    """Those of each aggregate's events, in the order in which they came."""
    found = {}
    for each in first_times(records):
        sequence = int(each["headers"]["sequence"])
        found.setdefault((each["topic"], each["key"]), []).append(sequence)
    return found


def assert_all_as_told(records):
    """Each event is there as it was told, and none before its predecessor."""
    wanted = told()
    found = [(heard(each), wanted.get(each["headers"]["id"])) for each in records]
    assert [pair for pair in found if pair[0] != pair[1]] == []
    assert set(ids(records)) == set(wanted)
    for sequences in numbers(records).values():
        assert sequences == list(range(1, len(sequences) + 1))


def all_are_out(debezium):
    wanted = set(told())
    eventually(
        lambda: set(ids(debezium.records())) >= wanted or not debezium.alive, 60, "all are out"
    )
    assert debezium.alive, debezium.log()[-5000:]


def test_every_event_of_the_shop_comes_out_once_as_it_was_told(debezium, processes):
    debezium.start()
    processes.provider()
    processes.worker()
    processes.beat()
    shop = open_shop()
    for card in ("card_good", "card_declined", "card_capture_declined"):
        shop.buy(card)
    shop.buy(sku="RARE")
    tell(a_teller(), *"abc", event=Odd)
    wait_for_rest()
    all_are_out(debezium)

    records = debezium.records()
    assert {each["topic"].split(".")[1] for each in records} == set(settings.CONTEXTS)
    assert_all_as_told(records)
    assert len(records) == len(told())


@pytest.mark.parametrize("published", ["insert", "insert, update, delete, truncate"])
def test_our_marks_and_the_retention_are_none_of_its_business(debezium, published):
    """Not even where the publication has more than the document says."""
    rows(f"ALTER PUBLICATION debezium_outbox SET (publish = '{published}')")
    debezium.start()
    teller = a_teller()
    tell(teller, *"abc", event=Odd)
    all_are_out(debezium)
    told_first = told()

    while relay():
        pass
    assert rows("SELECT count(*) FROM orders_outbox WHERE settled_at IS NULL") == [(0,)]
    grow_old(seconds=100 * 24 * 3600)
    assert prune() >= 3
    assert told() == {}
    tell(teller, "d", event=Odd)
    all_are_out(debezium)

    told_last = told()
    assert ids(debezium.records()) == [*told_first, *told_last]
    assert not re.search(r"\[(WARN|ERROR)\].*(outbox|Unexpected)", debezium.log())


def keep_telling(teller, done):
    try:
        while not done.wait(0.05):
            tell(teller, "a", "b", event=Odd)
    finally:
        connections.close_all()


def test_killed_again_and_again_it_leaves_nothing_out(debezium):
    debezium.start()
    done = threading.Event()
    with ThreadPoolExecutor() as pool:
        writers = [pool.submit(keep_telling, a_teller(), done) for _ in range(4)]
        try:
            for _ in range(3):
                before = len(debezium.records())
                eventually(
                    lambda least=before + 50: len(debezium.records()) >= least, 60, "it is at it"
                )
                debezium.kill()
                debezium.start()
        finally:
            done.set()
    for writer in writers:
        writer.result()
    all_are_out(debezium)
    assert_all_as_told(debezium.records())


def test_quiet_outboxes_keep_no_log_and_a_kill_then_loses_nothing(debezium):
    debezium.start()
    teller = a_teller()
    tell(teller, "a", event=Odd)
    all_are_out(debezium)
    [(written,)] = rows("SELECT pg_current_wal_lsn()")

    def is_let_go():
        rows("UPDATE orders_customer SET name = name")  # others write, and not into an outbox
        rows("CHECKPOINT")
        return rows("SELECT 1 FROM pg_replication_slots WHERE restart_lsn > %s::pg_lsn", [written])

    eventually(is_let_go, 90, "the log from before may go")
    debezium.kill()  # the slot is further than the offsets now
    tell(teller, "b", event=Odd)
    debezium.start()
    tell(teller, "c", event=Odd)
    all_are_out(debezium)
    assert numbers(debezium.records())["outbox.orders.customer", str(teller.id)] == [1, 2, 3]


def test_a_slot_that_was_dropped_is_made_anew_and_sequence_shows_what_is_missing(debezium):
    debezium.start()
    teller = a_teller()
    tell(teller, "a", event=Odd)
    all_are_out(debezium)
    debezium.kill()
    rows("SELECT pg_drop_replication_slot('debezium_outbox')")
    tell(teller, "b", event=Odd)
    debezium.start()
    tell(teller, "c", event=Odd)

    eventually(lambda: len(debezium.records()) > 1, 60, "it goes on")
    assert numbers(debezium.records())["outbox.orders.customer", str(teller.id)] == [1, 3]


def test_killed_in_the_middle_of_a_large_transaction_it_leaves_nothing_out(debezium):
    debezium.start(stops_after=3_000)  # in the second batch
    teller = a_teller()
    tell(teller, *map(str, range(10_000)), event=Odd)
    for stops_after in (3_000, 0):
        eventually(lambda: debezium.stands, 60, "it is in the middle")
        debezium.kill()
        debezium.start(stops_after=stops_after)
    all_are_out(debezium)

    assert_all_as_told(debezium.records())
