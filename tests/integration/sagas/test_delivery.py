"""Applying events: each once, in the order of its aggregate, whatever the broker does."""

import threading
from dataclasses import dataclass
from datetime import timedelta

import pytest

from orders.models import Outbox
from sagas import correlation
from sagas.api import current_event, start, uuid7
from sagas.models import DeadLetter, OperatorAction, SagaInstance
from sagas.outbox import dead_letters
from sagas.outbox.delivery import deliver
from sagas.outbox.republish import republish
from sagas.outbox.subscriptions import NotHandlingAnEvent
from sagas.reasons import ReasonMissing
from sagas.transactions import connection_of
from tests.integration.sagas import trial
from tests.integration.sagas.news import (
    Failing,
    Told,
    ToldSeen,
    Whispered,
    a_teller,
    grow_old,
    inbox,
    listen,
    position,
    tell,
)
from tests.together import PATIENCE, raised, together

pytestmark = pytest.mark.usefixtures("broker", "nobody_listens")


def bring(*event_ids, consumer="billing"):
    return deliver("orders", consumer, list(event_ids))


# -- once and in order -----------------------------------------------------------------------------


def test_an_event_starts_its_saga_once_however_often_and_at_once_it_comes(broker):
    def begin(text):
        start(trial.TRIAL, trial.TrialState(subject=uuid7()), key=text)

    listen("orders", begin)
    [event_id] = tell(a_teller(), "order-1")
    broker.take()

    together(*[lambda: bring(event_id, consumer="orders")] * 4)
    bring(event_id, consumer="orders")

    assert list(SagaInstance.objects.values_list("key", flat=True)) == ["order-1"]


def test_an_event_is_applied_with_position_and_inbox_row():
    listen()
    teller = a_teller()
    [event_id] = tell(teller, "hello")

    assert bring(event_id) == 1
    assert trial.effects() == ["billing:hello#1"]
    assert position(teller) == 1
    assert [str(i) for i in inbox()] == [event_id]


def test_the_same_message_five_times_has_one_effect():
    listen()
    [event_id] = tell(a_teller(), "hello")

    assert [bring(event_id, event_id) for _ in range(5)] == [1, 0, 0, 0, 0]
    assert trial.effects() == ["billing:hello#1"]


def test_messages_in_the_wrong_order_are_applied_in_the_right_one():
    listen()
    teller = a_teller()
    ids = tell(teller, *"abc")

    for event_id in reversed(ids):
        bring(event_id)
    assert trial.effects() == ["billing:a#1", "billing:b#2", "billing:c#3"]
    assert position(teller) == 3


def test_a_message_that_overtakes_brings_what_it_overtook():
    listen()
    teller = a_teller()
    first = tell(teller, "first")
    second = tell(teller, "second")

    assert bring(*second) == 2
    assert bring(*first) == 0
    assert trial.effects() == ["billing:first#1", "billing:second#2"]


def test_more_events_than_a_page_are_all_applied(monkeypatch):
    from sagas.outbox import delivery

    monkeypatch.setattr(delivery, "PAGE", 3)
    listen()
    teller = a_teller()
    ids = tell(teller, *[str(number) for number in range(9)])

    assert bring(ids[-1]) == 9
    assert position(teller) == 9


def test_every_context_has_a_position_of_its_own():
    listen("billing")
    listen("payments")
    teller = a_teller()
    [event_id] = tell(teller, "hello")
    bring(event_id, consumer="payments")

    assert (position(teller, "payments"), position(teller, "billing")) == (1, 0)
    bring(event_id)
    assert trial.effects() == ["payments:hello#1", "billing:hello#1"]


def test_an_event_without_a_handler_moves_the_position():
    listen()
    teller = a_teller()
    tell(teller, "psst", event=Whispered)
    [event_id] = tell(teller, "aloud")

    assert bring(event_id) == 2
    assert trial.effects() == ["billing:aloud#2"]
    assert position(teller) == 2


def test_events_of_different_aggregates_do_not_wait_for_each_other():
    act = Failing(a=99)
    listen(act=act)
    ids = tell(a_teller(), "a") + tell(a_teller(), "b")

    bring(*ids)
    assert trial.effects() == ["billing:b#1"]


def test_the_handler_works_under_the_correlation_of_the_event():
    seen = []
    listen(act=lambda _: seen.append((current_event(), correlation.current())))
    with correlation.correlated(correlation.Correlation(correlation_id="c9", traceparent="t9")):
        [event_id] = tell(a_teller(), "hello")

    bring(event_id)
    [(envelope, found)] = seen
    assert (str(envelope.event_id), envelope.correlation_id) == (event_id, "c9")
    assert (found.correlation_id, found.causation_id, found.traceparent) == ("c9", event_id, "t9")
    assert correlation.current() is None
    with pytest.raises(NotHandlingAnEvent):
        current_event()


def test_messages_about_events_that_are_not_there_change_nothing():
    listen()

    assert bring("01900000-0000-7000-8000-000000000000") == 0
    assert deliver("orders", "billing", []) == 0


# -- holes -----------------------------------------------------------------------------------------


def test_a_hole_is_never_jumped_over():
    listen()
    teller = a_teller()
    bring(*tell(teller, "a"))
    [lost] = tell(teller, "b")
    [later] = tell(teller, "c")
    row = Outbox.objects.filter(id=lost).values().get()
    Outbox.objects.filter(id=lost).delete()

    assert bring(later) == 0
    assert position(teller) == 1
    assert DeadLetter.objects.count() == 0, "nothing is wrong with the event"

    Outbox.objects.create(**row)
    assert bring(later) == 2
    assert trial.effects() == ["billing:a#1", "billing:b#2", "billing:c#3"]


def test_a_new_consumer_begins_with_the_first_event_that_is_still_there():
    teller = a_teller()
    tell(teller, *"abc")
    Outbox.objects.filter(sequence__lte=2).delete()
    listen()
    [event_id] = tell(teller, "d")

    assert bring(event_id) == 2
    assert trial.effects() == ["billing:c#3", "billing:d#4"]


# -- at the same moment ----------------------------------------------------------------------------


def test_the_same_message_in_eight_places_at_once_has_one_effect():
    listen()
    teller = a_teller()
    ids = tell(teller, *"abcdef")

    outcomes = together(*[lambda: bring(*ids)] * 8)
    assert raised(outcomes) == []
    assert sum(outcomes) == 6
    assert trial.effects() == [f"billing:{text}#{n}" for n, text in enumerate("abcdef", start=1)]
    assert position(teller) == 6


def test_news_that_comes_while_another_delivery_works_is_not_left_lying():
    """The second delivery finds the first event taken, and must go on with its own."""
    begun, may_end = threading.Event(), threading.Event()

    def slow(text):
        if text == "first":
            begun.set()
            assert may_end.wait(PATIENCE)

    listen(act=slow)
    teller = a_teller()
    first = tell(teller, "first")

    def late():
        assert begun.wait(PATIENCE)
        second = tell(teller, "second")
        return bring(*second)

    def watcher():
        assert begun.wait(PATIENCE)
        wait_until_somebody_waits_for_a_lock()
        may_end.set()

    outcomes = together(lambda: bring(*first), late, watcher)
    assert raised(outcomes) == []
    assert trial.effects() == ["billing:first#1", "billing:second#2"]


def test_when_the_first_of_two_deliveries_fails_the_second_applies_the_event():
    begun, may_fail = threading.Event(), threading.Event()
    act = Failing(first=1)

    def slow(text):
        if not begun.is_set():
            begun.set()
            assert may_fail.wait(PATIENCE)
        act(text)

    listen(act=slow)
    [event_id] = tell(a_teller(), "first")

    def second():
        assert begun.wait(PATIENCE)
        return bring(event_id)

    def watcher():
        assert begun.wait(PATIENCE)
        wait_until_somebody_waits_for_a_lock()
        may_fail.set()

    outcomes = together(lambda: bring(event_id), second, watcher)
    assert outcomes[:2] == [0, 1]
    assert trial.effects() == ["billing:first#1"]


def wait_until_somebody_waits_for_a_lock():
    for _ in range(2000):
        with connection_of("billing").cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
            if cursor.fetchone()[0]:
                return
        threading.Event().wait(0.005)
    raise AssertionError("nobody waits")


# -- faults ----------------------------------------------------------------------------------------


def test_a_fault_rolls_the_handler_back_and_keeps_the_event_for_later():
    act = Failing(a=1)
    listen("billing")
    listen("billing", act)
    teller = a_teller()
    [event_id] = tell(teller, "a")

    assert bring(event_id) == 0
    assert trial.effects() == []
    assert (position(teller), inbox()) == (0, [])
    letter = DeadLetter.objects.get()
    assert (letter.context, letter.producer, letter.event_name) == ("billing", "orders", Told.name)
    assert (str(letter.event_id), letter.sequence, letter.attempts) == (event_id, 1, 1)
    assert letter.reason == "RuntimeError: cannot hear a"
    assert "Traceback" in letter.traceback
    assert letter.next_at - letter.last_at <= timedelta(seconds=60)
    assert letter.next_at > letter.last_at
    assert letter.resolved_at is None


def test_before_its_delay_is_over_an_event_is_not_tried_again():
    act = Failing(a=1)
    listen(act=act)
    [event_id] = tell(a_teller(), "a")
    bring(event_id)

    assert bring(event_id) == 0
    assert act.seen == ["a"]
    grow_old()
    assert bring(event_id) == 1
    assert trial.effects() == ["billing:a#1"]


def test_later_events_of_the_aggregate_wait_behind_a_dead_letter_and_keep_their_order():
    act = Failing(a=2)
    listen(act=act)
    broken, healthy = a_teller(), a_teller()
    ids = tell(broken, *"abc")
    bring(*ids)
    bring(ids[2])
    bring(*tell(healthy, "x"))

    assert trial.effects() == ["billing:x#1"]
    assert act.seen == ["a", "x"]
    for _ in range(2):
        grow_old()
        bring(ids[1])
    assert trial.effects() == ["billing:x#1", "billing:a#1", "billing:b#2", "billing:c#3"]


def test_a_dead_letter_of_one_context_does_not_hold_another_one_up():
    listen("billing", Failing(a=99))
    listen("payments")
    [event_id] = tell(a_teller(), "a")
    bring(event_id)
    bring(event_id, consumer="payments")

    assert trial.effects() == ["payments:a#1"]


def test_after_the_last_attempt_an_event_waits_for_a_person(settings):
    settings.SAGAS = {**settings.SAGAS, "HANDLER_ATTEMPTS": 3}
    act = Failing(a=99)
    listen(act=act)
    [event_id] = tell(a_teller(), "a")
    for _ in range(6):
        bring(event_id)
        grow_old()

    letter = DeadLetter.objects.get()
    assert (letter.attempts, letter.next_at) == (3, None)
    assert act.seen == ["a"] * 3
    assert dead_letters.retry_due() == 0


def test_a_delay_that_is_over_is_found_without_any_message(broker):
    act = Failing(a=1)
    listen(act=act)
    [event_id] = tell(a_teller(), "a")
    bring(event_id)
    broker.take()
    assert dead_letters.retry_due() == 0
    grow_old()

    assert dead_letters.retry_due() == 1
    broker.drain()
    assert trial.effects() == ["billing:a#1"]
    assert dead_letters.retry_due() == 0


def a_dead_letter(settings, act=None):
    settings.SAGAS = {**settings.SAGAS, "HANDLER_ATTEMPTS": 1}
    listen(act=act or Failing(a=1))
    [event_id] = tell(a_teller(), "a")
    bring(event_id)
    return DeadLetter.objects.get()


def test_an_operator_resends_with_a_reason_that_is_kept(broker, settings):
    letter = a_dead_letter(settings)
    broker.take()

    assert dead_letters.resend(letter.id, by="alice", reason="handler is mended") is True
    broker.drain()
    assert trial.effects() == ["billing:a#1"]
    act = OperatorAction.objects.get()
    assert (act.action, act.target_id, act.by) == ("resend", str(letter.id), "alice")
    assert (act.reason, act.outcome) == ("handler is mended", "done")
    republish_and_settle()
    assert DeadLetter.objects.get().resolved_at is not None


def republish_and_settle():
    Outbox.objects.update(published_at="2020-01-01T00:00:00Z")
    return republish()


@pytest.mark.parametrize("reason", ["", "  \n"])
def test_without_a_reason_nothing_is_resent(settings, reason):
    letter = a_dead_letter(settings)

    with pytest.raises(ReasonMissing):
        dead_letters.resend(letter.id, by="alice", reason=reason)
    assert OperatorAction.objects.count() == 0


def test_of_two_operators_who_resend_at_once_one_hears_that_somebody_was_faster(broker, settings):
    letter = a_dead_letter(settings)

    def press(who):
        return lambda: dead_letters.resend(letter.id, by=who, reason="again")

    assert sorted(together(press("alice"), press("bob"))) == [False, True]
    assert [signature.task for signature in broker.take()].count("sagas.deliver") == 1
    assert sorted(OperatorAction.objects.values_list("outcome", flat=True)) == ["done", "refused"]


def test_an_event_that_has_been_applied_is_not_resent(broker, settings):
    letter = a_dead_letter(settings)
    dead_letters.resend(letter.id, by="alice", reason="again")
    broker.drain()
    republish_and_settle()

    assert dead_letters.resend(letter.id, by="bob", reason="again") is False
    assert OperatorAction.objects.get(by="bob").outcome == "refused"


def test_an_event_that_fails_again_after_a_resend_counts_anew(broker, settings):
    letter = a_dead_letter(settings, Failing(a=99))
    settings.SAGAS = {**settings.SAGAS, "HANDLER_ATTEMPTS": 2}
    dead_letters.resend(letter.id, by="alice", reason="again")
    broker.drain()

    letter.refresh_from_db()
    assert letter.attempts == 1
    assert letter.next_at is not None


# -- what the consumer reads -----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class NeedsMore:
    text: str
    amount: int


@dataclass(frozen=True, kw_only=True, slots=True)
class NeedsNothing:
    text: str = "unread"


def test_fields_the_consumer_does_not_know_are_ignored():
    seen = []
    listen(payload=ToldSeen, act=seen.append)
    [event_id] = tell(a_teller(), "hello")
    Outbox.objects.filter(id=event_id).update(payload={"text": "hello", "more": [1, 2]})

    bring(event_id)
    assert seen == ["hello"]


def test_a_field_the_consumer_needs_and_does_not_find_makes_a_dead_letter():
    listen(payload=NeedsMore)
    [event_id] = tell(a_teller(), "hello")
    bring(event_id)

    assert DeadLetter.objects.get().reason == ("CannotDecode: NeedsMore: field 'amount' is missing")


def test_a_version_the_consumer_cannot_read_waits_for_the_release_that_can():
    listen(version=2)
    teller = a_teller()
    [event_id] = tell(teller, "hello")

    assert bring(event_id) == 0
    assert (trial.effects(), position(teller)) == ([], 0)
    assert DeadLetter.objects.get().reason.startswith("UnknownVersion: ")

    listen(version=1)
    grow_old()
    assert bring(event_id) == 1
    assert position(teller) == 1
    assert DeadLetter.objects.get().resolved_at is not None


def test_all_handlers_of_a_context_run_in_one_transaction():
    listen("billing")
    listen("billing", Failing(a=1))
    [event_id] = tell(a_teller(), "a")

    bring(event_id)
    assert trial.effects() == []
    grow_old()
    bring(event_id)
    assert trial.effects() == ["billing:a#1", "billing:a#1"]
