"""Beat alone, beat woken by the commit, the log: whoever finds an event, it ends the same."""

import threading

import pytest

from sagas.api import publish, transaction
from sagas.orchestration import donekeys
from sagas.outbox import bell, relay, slots
from sagas.outbox.tailing import tail
from sagas.transactions import connection_of
from tests.integration.sagas import trial
from tests.integration.sagas.news import Told, a_teller, inbox, listen, outbox, tell
from tests.together import raised, together

pytestmark = pytest.mark.usefixtures("nobody_listens")


class BeatAlone:
    """The tick comes whether anybody rang or not, and nobody does."""

    def __init__(self, broker, monkeypatch):
        monkeypatch.setattr(bell, "ring", lambda: None)
        self.broker = broker

    def look(self):
        relay.relay()
        self.broker.drain()

    def end(self):
        pass


class WokenByTheCommit:
    """Only the messages that commits send; there is no tick."""

    def __init__(self, broker, _):
        self.broker = broker

    def look(self):
        self.broker.drain()

    def end(self):
        pass


class TheLog:
    """Only the log is read; no relay looks into the outboxes."""

    def __init__(self, broker, monkeypatch):
        monkeypatch.setattr(bell, "ring", lambda: None)
        self.broker = broker
        for alias in slots.databases():
            slots.set_up(alias)

    def look(self):
        with transaction("orders"):
            # What the servers of the tests have not written to the disk yet is no log.
            rows_of_a_transaction("SET LOCAL synchronous_commit = on")
            rows_of_a_transaction("SELECT pg_logical_emit_message(true, 'trial', '')")
        for alias in slots.databases():
            tail(alias)
        self.broker.drain()

    def end(self):
        for alias in slots.databases():
            slots.drop(alias)


def rows_of_a_transaction(statement):
    with connection_of("orders").cursor() as cursor:
        cursor.execute(statement)


WAYS = [BeatAlone, WokenByTheCommit, TheLog]


def work(tellers, look):
    """Three writers at once over all aggregates, each also changing its mind; somebody drains."""
    done = threading.Event()

    def writer(name):
        def write():
            for number in range(6):
                for teller in tellers:
                    tell(teller, f"{name}{number}", f"{name}{number}b")
                with pytest.raises(KeyError), transaction("orders"):
                    never_said(tellers[number % len(tellers)])

        return write

    def drains():
        while not done.is_set():
            look()

    def writes():
        try:
            assert raised(together(*[writer(name) for name in "xyz"])) == []
        finally:
            done.set()

    assert raised(together(writes, drains)) == []
    look()


def never_said(teller):
    publish(Told(text="never"), aggregate=teller)
    raise KeyError


def heard():
    """What each consumer's handlers were told."""
    found = {}
    for effect in trial.effects():
        consumer, _, rest = effect.partition(":")
        text, _, number = rest.partition("#")
        found.setdefault(consumer, []).append((text, int(number)))
    return found


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_drain_ends_the_same(broker, monkeypatch, way):
    """Compared with one list: what was committed, in the order of each aggregate's numbers."""
    listen("billing")
    listen("payments")
    tellers = [a_teller() for _ in range(4)]
    draining = way(broker, monkeypatch)
    donekeys.client().delete(bell.KEY)
    try:
        work(tellers, draining.look)
    finally:
        draining.end()

    told = {
        teller.id: list(
            outbox()
            .filter(aggregateid=teller.id)
            .order_by("sequence")
            .values_list("payload__text", "sequence")
        )
        for teller in tellers
    }
    everything = sorted(pair for pairs in told.values() for pair in pairs)
    assert sorted({text for text, _ in everything}) == sorted(
        f"{name}{number}{end}" for name in "xyz" for number in range(6) for end in ("", "b")
    )
    assert [number for pairs in told.values() for _, number in pairs] == [*range(1, 37)] * 4
    applied = heard()
    assert set(applied) == {"billing", "payments"}
    for consumer, pairs in applied.items():
        assert sorted(pairs) == everything, consumer
        assert applied_in_order(consumer) == told, consumer
    assert outbox().filter(published_at=None).count() == 0


def applied_in_order(consumer):
    """What a consumer has applied of each aggregate, in the order of its own commits."""
    events = {row.id: row for row in outbox()}
    found = {}
    for event_id in inbox(consumer):
        row = events[event_id]
        found.setdefault(row.aggregateid, []).append((row.payload["text"], row.sequence))
    return found


def test_a_relay_beside_a_tailer_changes_nothing(broker, monkeypatch):
    listen("billing")
    tellers = [a_teller() for _ in range(3)]
    log = TheLog(broker, monkeypatch)

    def both():
        log.look()
        relay.relay()
        broker.drain()

    try:
        work(tellers, both)
    finally:
        log.end()

    assert {
        teller: [number for _, number in pairs]
        for teller, pairs in applied_in_order("billing").items()
    } == {teller.id: [*range(1, 37)] for teller in tellers}
