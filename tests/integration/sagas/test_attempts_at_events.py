"""Attempts at events that end without a trace, and who does not wait for them."""

import re
from collections import Counter
from pathlib import Path

import pytest
from celery import current_app
from celery.exceptions import SoftTimeLimitExceeded
from django.db import DataError, OperationalError

from orders.models import Outbox
from sagas import failpoints
from sagas.conf import conf
from sagas.failpoints import FailpointHit
from sagas.models import DeadLetter
from sagas.outbox import attempts, dead_letters, delivery, discarding, reading, relay
from sagas.outbox.dead_letters import Attempt
from sagas.outbox.republish import republish
from sagas.transactions import connection_of
from tests.databases import rows
from tests.integration.sagas import trial
from tests.integration.sagas.news import Failing, a_teller, grow_old, listen, position, tell
from tests.integration.sagas.test_delivery import bring
from tests.together import raised, together

pytestmark = pytest.mark.usefixtures("broker", "nobody_listens")

ROOT = Path(__file__).parents[3]
GONE = "an attempt ended without a trace: its worker died or froze"


def raising(error):
    def act(text):
        if text == "poison":
            raise error

    return act


def raising_always(error):
    def act(*_):
        raise error

    return act


def a_pair():
    """One who tells poison and one who does not, the first of them first in every message."""
    return sorted([a_teller(), a_teller()], key=lambda teller: teller.id)


def grown_old(teller, *texts):
    """Tell something that was sent long ago and not applied."""
    ids = tell(teller, *texts)
    relay.relay_batch("orders")
    grow_old()
    return ids


def letters():
    return list(DeadLetter.objects.values_list("attempts", "reason", "next_at"))


@pytest.mark.parametrize("text", ["a\x00b", "caf\udce9"], ids=["zero byte", "lone surrogate"])
def test_an_event_whose_fault_cannot_be_stored_holds_up_no_other_aggregate(text):
    listen(act=raising(ValueError(text)))
    first, second = a_pair()

    assert delivery.deliver("orders", "billing", tell(first, "poison") + tell(second, "fine")) == 1
    assert DeadLetter.objects.get().aggregate_id == first.id
    assert position(second) == 1


def test_an_event_that_kills_its_worker_waits_for_a_person_and_holds_up_no_other_aggregate(
    broker, settings
):
    settings.SAGAS = {**settings.SAGAS, "HANDLER_ATTEMPTS": 2}
    listen(act=raising(SystemExit("killed")))
    first, second = a_pair()
    tell(first, "poison")
    tell(second, "fine")
    relay.relay_batch("orders")

    killed = 0
    for _ in range(5):
        for message in broker.take():
            try:
                current_app.tasks[message.task](*message.args)
            except SystemExit:
                killed += 1
        grow_old()
        republish()

    assert position(second) == 1
    assert killed == 3, "once uncounted, twice counted"
    reason = "2 attempts, the last ended without a trace: its worker died or froze"
    assert letters() == [(2, reason, None)]


def test_an_event_that_kills_at_its_retry_is_counted_once_for_each_attempt(settings):
    settings.SAGAS = {**settings.SAGAS, "HANDLER_ATTEMPTS": 3}
    ends = [SystemExit("killed"), RuntimeError("no")]

    def act(_text):
        raise ends.pop()

    listen(act=act)
    [event_id] = tell(a_teller(), "a")
    bring(event_id)
    grow_old()
    with pytest.raises(SystemExit):
        bring(event_id)

    [(count, reason, next_at)] = letters()
    assert (count, reason) == (2, "RuntimeError: no")
    assert next_at is not None
    assert bring(event_id) == 0, "it belongs to that attempt for a lease"
    assert ends == []


def test_of_two_who_begin_at_once_one_counts():
    listen()
    teller = a_teller()
    tell(teller, "a")
    [message] = reading.read("orders", teller.aggregate_type, teller.id, 0)

    begun = [attempts.begin("orders", "billing", message.envelope) for _ in range(2)]
    assert begun == [True, False]
    assert DeadLetter.objects.get().attempts == 1


def test_a_first_attempt_that_goes_well_leaves_no_letter_however_late_it_was():
    listen()
    assert bring(*grown_old(a_teller(), "a", "b")) == 2
    assert letters() == []


def test_a_second_attempt_that_goes_well_leaves_a_letter_that_tells_of_the_first():
    ends = [None, SystemExit("killed")]

    def act(_text):
        if end := ends.pop():
            raise end

    listen(act=act)
    ids = grown_old(a_teller(), "a")
    with pytest.raises(SystemExit):
        bring(*ids)
    grow_old()

    assert bring(*ids) == 1
    letter = DeadLetter.objects.get()
    assert (letter.attempts, letter.reason) == (2, GONE)
    assert letter.resolved_at is not None


def test_what_is_told_while_an_attempt_is_counted_is_applied_by_it():
    teller = a_teller()

    def act(text):
        if text == "a":
            assert together(lambda: bring(*tell(teller, "b"))) == [0]

    listen(act=act)

    assert bring(*grown_old(teller, "a")) == 2
    assert trial.effects() == ["billing:a#1", "billing:b#2"]


@pytest.fixture
def torn(settings):
    """Who has told three events, the second of them lost before any relay saw it, and the third."""
    # Of what is read from the history: that was recorded just now, and has no grow_old.
    settings.SAGAS = {**settings.SAGAS, "REPUBLISH_AFTER": 0.000_001}
    listen()
    teller = a_teller()
    bring(*tell(teller, "a"))
    [lost] = tell(teller, "b")
    row = Outbox.objects.filter(id=lost).values().get()
    Outbox.objects.filter(id=lost).delete()
    return teller, row, grown_old(teller, "c")


def test_a_hole_that_stays_is_said_and_comes_to_a_person(torn):
    teller, _, ids = torn
    assert bring(*ids) == 0
    [(count, reason, next_at)] = letters()
    assert (count, next_at is None) == (1, False)
    assert reason == "number 2 of its aggregate is neither in the outbox nor in the history"

    for _ in range(int(conf.HANDLER_ATTEMPTS)):
        grow_old()
        bring(*ids)
    assert letters() == [(conf.HANDLER_ATTEMPTS, reason, None)]
    assert position(teller) == 1


def test_a_worker_that_dies_at_a_hole_leaves_no_other_reason_than_the_hole(torn, monkeypatch):
    _, _, ids = torn
    with monkeypatch.context() as dying:
        dying.setattr(attempts, "take_back", raising_always(SystemExit("killed")))
        with pytest.raises(SystemExit):
            bring(*ids)
    grow_old()
    bring(*ids)
    [(count, reason, _)] = letters()
    assert count == 2
    assert reason == "number 2 of its aggregate is neither in the outbox nor in the history"


def test_a_hole_that_is_filled_before_it_comes_to_a_person_needs_none(torn):
    _, row, ids = torn
    bring(*ids)
    Outbox.objects.create(**row)
    grow_old()

    assert bring(*ids) == 2
    assert trial.effects() == ["billing:a#1", "billing:b#2", "billing:c#3"]
    assert not DeadLetter.objects.filter(resolved_at=None).exists()


def test_an_event_that_nobody_can_put_back_is_stood_in_for_as_operators_are_told(torn, broker):
    teller, _, ids = torn
    bring(*ids)
    page = (ROOT / "docs" / "operators.md").read_text()
    [statement] = re.findall(r"```sql\n(INSERT INTO orders_outbox.*?)```", page, re.DOTALL)
    rows(statement.replace("ORDER_ID", str(teller.id)).replace("orders.order", "orders.customer"))
    relay.relay_batch("orders")
    grow_old()

    assert bring(*ids) == 2
    assert trial.effects() == ["billing:a#1", "billing:c#3"]
    assert position(teller) == 3


def test_an_event_behind_a_hole_keeps_the_letter_it_had():
    listen(act=Failing(c=1))
    teller = a_teller()
    lost, second = tell(teller, "b", "c")
    bring(lost, second)
    Outbox.objects.filter(id=lost).delete()
    rows("UPDATE billing_position SET sequence = 0")
    grow_old()

    assert bring(second) == 0
    [(count, reason, next_at)] = letters()
    assert (count, reason) == (1, "RuntimeError: cannot hear c")
    assert next_at is not None


def test_a_letter_whose_own_event_is_lost_waits_for_a_person_and_is_rung_for_no_more(broker):
    listen(act=Failing(b=1))
    teller = a_teller()
    bring(*tell(teller, "a"))
    [lost] = tell(teller, "b")
    bring(lost)
    Outbox.objects.filter(id=lost).delete()
    grow_old()

    assert dead_letters.retry_due() == 1
    broker.drain()
    assert dead_letters.retry_due() == 0
    told = "the event is neither in the outbox nor in the history"
    assert letters() == [(2, told, None)]

    letter_id = DeadLetter.objects.get().id
    assert dead_letters.resend(letter_id, by="ops", reason="put back?")
    broker.drain()
    assert dead_letters.retry_due() == 0
    assert letters() == [(1, told, None)]
    assert discarding.discard(letter_id, by="ops", reason="nobody has it")
    bring(*tell(teller, "c"))
    assert trial.effects() == ["billing:a#1", "billing:c#3"]


def test_a_lost_event_that_is_put_back_is_applied_when_its_letter_is_sent_again(broker):
    listen(act=Failing(b=1))
    [lost] = tell(a_teller(), "b")
    bring(lost)
    row = Outbox.objects.filter(id=lost).values().get()
    Outbox.objects.filter(id=lost).delete()
    grow_old()
    dead_letters.retry_due()
    broker.drain()

    Outbox.objects.create(**row)
    assert dead_letters.resend(DeadLetter.objects.get().id, by="ops", reason="put back")
    broker.drain()
    assert trial.effects() == ["billing:b#1"]


def test_a_letter_that_was_closed_too_early_opens_again_with_a_full_count():
    listen(act=Failing(a=1))
    ids = grown_old(a_teller(), "a")
    bring(*ids)
    DeadLetter.objects.update(resolved_at="2026-01-01T00:00Z", attempts=5, next_at=None)

    assert bring(*ids) == 1
    letter = DeadLetter.objects.get()
    assert (letter.attempts, letter.reason) == (1, "RuntimeError: cannot hear a")
    assert letter.resolved_at.year > 2025


def test_what_goes_wrong_with_one_aggregate_is_raised_after_the_others(monkeypatch):
    noted = []

    def note(*_told, **_more):
        noted.append(1)
        raise DataError("cannot be written")

    monkeypatch.setattr(dead_letters, "note", note)
    listen(act=raising(ValueError("no")))
    first, second = a_pair()
    with pytest.raises(DataError):
        bring(*tell(first, "poison"), *tell(second, "fine"))

    assert (noted, position(first), position(second)) == ([1], 0, 1)


def test_a_database_that_is_gone_is_not_asked_for_every_aggregate(monkeypatch):
    asked = []

    def begin(*_told):
        asked.append(1)
        raise OperationalError("gone")

    monkeypatch.setattr(attempts, "begin", begin)
    listen()
    first, second = a_pair()
    ids = tell(second, "fine")
    with pytest.raises(OperationalError):
        bring(*grown_old(first, "fine"), *ids)

    assert asked == [1]


def test_attempts_that_were_cut_off_side_by_side_are_one(broker):
    listen(act=raising(SoftTimeLimitExceeded()))
    teller = a_teller()
    [event_id] = tell(teller, "poison")
    [message] = reading.read("orders", teller.aggregate_type, teller.id, 0)

    for _one_of_five_that_waited in range(5):
        cut_off = Attempt("cut off", "", counted=False, took=9)
        dead_letters.note("orders", "billing", message.envelope, cut_off)
    assert DeadLetter.objects.get(event_id=event_id).attempts == 1
    assert DeadLetter.objects.get().next_at is not None


def test_one_that_is_cut_off_late_takes_the_event_from_no_attempt_that_has_begun(broker):
    teller = a_teller()
    tell(teller, "poison")
    [message] = reading.read("orders", teller.aggregate_type, teller.id, 0)
    cut_off = Attempt("cut off", "", counted=False, took=9)
    dead_letters.note("orders", "billing", message.envelope, cut_off)
    grow_old()
    assert attempts.begin("orders", "billing", message.envelope)
    lease = DeadLetter.objects.get().next_at

    dead_letters.note("orders", "billing", message.envelope, cut_off)

    assert (DeadLetter.objects.get().attempts, DeadLetter.objects.get().next_at) == (2, lease)
    assert not attempts.begin("orders", "billing", message.envelope), "it is at it"


def test_attempts_one_after_the_other_are_counted_and_the_last_waits_for_a_person(broker, settings):
    settings.SAGAS = {**settings.SAGAS, "HANDLER_ATTEMPTS": 3}
    teller = a_teller()
    tell(teller, "poison")
    [message] = reading.read("orders", teller.aggregate_type, teller.id, 0)

    counts = []
    for _ in range(3):
        no = Attempt("no", "", counted=False, took=0)
        dead_letters.note("orders", "billing", message.envelope, no)
        letter = DeadLetter.objects.get()
        counts.append((letter.attempts, letter.next_at is None))
    assert counts == [(1, False), (2, False), (3, True)]


def test_a_delivery_whose_time_is_up_ends_with_the_event_it_was_at(broker):
    listen(act=raising(SoftTimeLimitExceeded()))
    first, second = a_pair()

    with pytest.raises(SoftTimeLimitExceeded):
        delivery.deliver("orders", "billing", tell(first, "poison") + tell(second, "fine"))
    assert DeadLetter.objects.get().aggregate_id == first.id
    assert position(second) == 0


# -- an attempt that froze, and ends when others have decided --------------------------------------


@pytest.fixture
def frozen(settings):
    """Return what freezes over a first attempt at poison, until others have done what is given."""
    settings.SAGAS = {**settings.SAGAS, "HANDLER_ATTEMPTS": 2}

    def freeze(meanwhile):
        tried, outcomes = [], []

        def others(pid):
            # The server ends the session that stands still in its transaction.
            with connection_of("billing").cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
            relay.relay_batch("orders")
            meanwhile()

        def act(text):
            if text != "poison":
                return
            tried.append(text)
            if len(tried) > 1:
                raise RuntimeError("poison")
            with connection_of("billing").cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                [pid] = cursor.fetchone()
            outcomes.extend(together(lambda: others(pid)))

        listen(act=act)
        return outcomes

    return freeze


def discarded(event_id):
    """Try an event in vain until it waits for a person, who discards it."""
    for _ in range(2):
        grow_old()
        bring(event_id)
    [letter] = DeadLetter.objects.filter(resolved_at=None, next_at=None)
    assert discarding.discard(letter.id, by="alice", reason="poison")
    republish()
    assert Outbox.objects.get(id=event_id).settled_at is not None


def test_what_was_discarded_stays_discarded_when_a_worker_that_froze_over_it_thaws(frozen):
    teller = a_teller()
    [poison] = tell(teller, "poison")
    outcomes = frozen(lambda: discarded(poison))

    bring(poison)
    assert raised(outcomes) == []
    assert position(teller) == 1
    assert not DeadLetter.objects.filter(resolved_at=None).exists()
    assert bring(*tell(teller, "news")) == 1
    assert trial.effects() == ["billing:news#2"]


def test_a_worker_that_thaws_and_dies_before_it_looks_again_holds_up_nothing_for_good(
    frozen, monkeypatch
):
    teller = a_teller()
    [poison] = tell(teller, "poison")

    def meanwhile():
        discarded(poison)
        monkeypatch.setattr(failpoints, "_hits", Counter())
        monkeypatch.setenv("CONCORD_FAILPOINTS", "letter.committed=raise:1")

    outcomes = frozen(meanwhile)
    with pytest.raises(FailpointHit):
        bring(poison)
    monkeypatch.delenv("CONCORD_FAILPOINTS")
    assert raised(outcomes) == []
    assert DeadLetter.objects.get().resolved_at is None

    assert bring(*tell(teller, "news")) == 1
    assert DeadLetter.objects.get().resolved_at is not None


def test_what_others_have_applied_waits_for_no_person_when_a_worker_that_froze_over_it_thaws(
    frozen, settings
):
    settings.SAGAS = {**settings.SAGAS, "HANDLER_ATTEMPTS": 1}
    teller = a_teller()
    [poison] = tell(teller, "poison")

    def meanwhile():
        rows(
            "INSERT INTO billing_position (aggregatetype, aggregateid, sequence)"
            " VALUES ('orders.customer', %s, 1)",
            [teller.id],
        )

    outcomes = frozen(meanwhile)
    bring(poison)
    assert raised(outcomes) == []
    assert not DeadLetter.objects.filter(resolved_at=None).exists()
