"""Outbox compared with inbox: what the broker has lost is delivered again, the rest settled."""

import pytest

from billing.models import Inbox
from orders.models import Idempotency, Outbox
from sagas.models import DeadLetter
from sagas.orchestration import canvas
from sagas.outbox import dead_letters, pruning
from sagas.outbox import republish as republishing
from sagas.outbox.catching_up import catch_up
from sagas.outbox.delivery import deliver
from sagas.outbox.pruning import prune
from sagas.outbox.relay import relay
from sagas.outbox.republish import republish
from tests.conftest import empty_redis
from tests.databases import rows
from tests.integration.sagas import trial
from tests.integration.sagas.news import (
    Failing,
    Told,
    Whispered,
    a_teller,
    grow_old,
    listen,
    outbox,
    position,
    tell,
)

pytestmark = pytest.mark.usefixtures("nobody_listens")


def lose_everything(broker):
    """What FLUSHALL, or a broker without persistence, leaves of the messages."""
    return broker.take()


def settled(event_id):
    return outbox(event_id=event_id).settled_at is not None


def test_when_the_broker_loses_everything_every_event_is_still_applied_once(broker):
    listen("billing")
    listen("payments")
    tellers = [a_teller() for _ in range(3)]
    for teller in tellers:
        tell(teller, *"abc")
    relay()
    assert lose_everything(broker) != []
    grow_old()

    assert republish() == 9
    broker.drain()
    assert sorted(trial.effects()) == sorted(
        f"{context}:{text}#{number}"
        for context in ("billing", "payments")
        for number, text in enumerate("abc", start=1)
        for _ in tellers
    )
    assert republish() == 0
    assert Outbox.objects.filter(settled_at=None).count() == 0


def test_what_has_been_applied_is_settled_and_not_delivered_again(broker):
    listen()
    [event_id] = tell(a_teller(), "a")
    relay()
    broker.drain()
    assert not settled(event_id)
    grow_old()

    assert republish() == 0
    assert settled(event_id)
    assert broker.take() == []


def test_an_event_is_given_its_time_before_it_is_delivered_again(broker):
    listen()
    [event_id] = tell(a_teller(), "a")
    relay()
    lose_everything(broker)

    assert republish() == 0
    assert broker.take() == []
    assert not settled(event_id)


def test_an_event_is_settled_only_when_every_context_has_applied_it(broker):
    listen("billing")
    listen("payments")
    [event_id] = tell(a_teller(), "a")
    relay()
    lose_everything(broker)
    deliver("orders", "billing", [event_id])
    grow_old()

    assert republish() == 1
    [message] = broker.take()
    assert message.args == ("orders", "payments", [event_id])
    assert not settled(event_id)
    broker.run_chain(message)
    assert republish() == 0
    assert settled(event_id)


def test_an_event_behind_a_hole_is_not_settled(broker):
    listen()
    teller = a_teller()
    [first] = tell(teller, "a")
    deliver("orders", "billing", [first])
    [lost], [later] = tell(teller, "b"), tell(teller, "c")
    relay()
    lose_everything(broker)
    row = Outbox.objects.filter(id=lost).values().get()
    Outbox.objects.filter(id=lost).delete()
    grow_old()

    assert republish() == 1
    broker.drain()
    assert (settled(first), settled(later)) == (True, False)
    Outbox.objects.create(**row)
    grow_old()
    republish()
    broker.drain()
    assert trial.effects() == ["billing:a#1", "billing:b#2", "billing:c#3"]


def test_comparing_twice_at_once_is_harmless(broker):
    listen()
    tell(a_teller(), *"ab")
    relay()
    lose_everything(broker)
    grow_old()

    assert (republish(), republish()) == (2, 2)
    broker.drain()
    assert trial.effects() == ["billing:a#1", "billing:b#2"]


def test_many_events_that_wait_for_a_person_do_not_hide_the_others(broker, monkeypatch, settings):
    """A page full of events behind dead letters must not be all that is ever looked at."""
    settings.SAGAS = {**settings.SAGAS, "HANDLER_ATTEMPTS": 1}
    monkeypatch.setattr(republishing, "PAGE", 3)
    listen(act=Failing(a=99))
    for _ in range(4):
        tell(a_teller(), "a")
    relay()
    broker.drain()
    [lost] = tell(a_teller(), "lost")
    relay()
    lose_everything(broker)
    grow_old()

    republish()
    broker.drain()
    assert trial.effects() == ["billing:lost#1"]
    republish()
    assert settled(lost)


def test_when_the_broker_refuses_the_comparison_tries_again_next_time(broker, monkeypatch):
    listen()
    [event_id] = tell(a_teller(), "a")
    relay()
    lose_everything(broker)
    grow_old()
    with monkeypatch.context() as refusing:
        refusing.setattr(canvas, "publish", lambda *_, **__: False)
        republish()

    assert not settled(event_id)
    republish()
    broker.drain()
    assert trial.effects() == ["billing:a#1"]


def test_what_nobody_takes_is_not_sent_again_and_again(settings, monkeypatch):
    """A backlog that lasts longer than the patience must not feed on its own messages."""
    monkeypatch.setattr("sagas.outbox.relay.FEW", 2)
    settings.SAGAS = {**settings.SAGAS, "DELIVERY_SIZE": 1}
    listen()
    tell(a_teller(), *"ab")
    relay()
    grow_old()

    for _ in range(200):
        republish()
    assert 2 < canvas.depth("events") < 100

    empty_redis()
    assert republish() == 2
    assert canvas.depth("events") == 2


def test_however_much_else_waits_what_is_lost_has_its_turn(broker, monkeypatch):
    listen()
    tell(a_teller(), "lost")
    relay()
    lose_everything(broker)
    grow_old()

    monkeypatch.setattr(canvas, "depth", lambda _: 1_000_000)
    chances = [number / 100 for number in range(100)]
    monkeypatch.setattr("sagas.outbox.relay.random", iter(chances).__next__)
    assert [bool(republish()) for _ in chances] == [True] * 5 + [False] * 95


def test_a_letter_that_is_due_is_not_rung_for_again_and_again_where_nobody_answers(
    monkeypatch,
):
    monkeypatch.setattr("sagas.outbox.relay.FEW", 2)
    listen(act=Failing(a=1))
    [event_id] = tell(a_teller(), "a")
    deliver("orders", "billing", [event_id])
    grow_old()

    for _ in range(200):
        dead_letters.retry_due()
    assert 0 < canvas.depth("events") < 50

    empty_redis()
    assert dead_letters.retry_due() == 1
    assert canvas.depth("events") == 1


def test_the_dead_letter_of_an_event_that_was_applied_after_all_is_closed(broker):
    listen(act=Failing(a=1))
    [event_id] = tell(a_teller(), "a")
    relay()
    broker.drain()
    assert DeadLetter.objects.get().resolved_at is None
    grow_old()
    republish()
    broker.drain()
    grow_old()

    republish()
    assert DeadLetter.objects.get().resolved_at is not None
    assert settled(event_id)


def test_an_event_whose_consumer_has_gone_is_settled(broker, nobody_listens, monkeypatch, settings):
    from sagas.outbox import subscriptions

    settings.SAGAS = {**settings.SAGAS, "START_GRACE": 0}
    listen()
    [event_id] = tell(a_teller(), "a")
    relay()
    lose_everything(broker)
    monkeypatch.setattr(subscriptions, "SUBSCRIPTIONS", {})
    grow_old()

    assert republish() == 0
    assert settled(event_id)


# -- pruning ---------------------------------------------------------------------------------------

MONTHS = 100 * 86_400


def age(table, column, seconds=MONTHS):
    rows(f"UPDATE {table} SET {column} = {column} - make_interval(secs => {seconds})")


def test_only_settled_and_old_events_are_deleted(broker):
    listen()
    teller = a_teller()
    old = tell(teller, "old")
    relay()
    broker.drain()
    grow_old()
    republish()
    grow_old(MONTHS)
    [unsettled] = tell(a_teller(), "unsettled")
    relay()
    grow_old(MONTHS)
    [young] = tell(a_teller(), "young", event=Whispered)
    relay()
    [unsent] = tell(a_teller(), "unsent")
    age("orders_outbox", "created_at")

    assert prune() == 1
    assert [str(row.id) for row in outbox()] == [unsettled, young, unsent]
    assert old[0] not in {str(row.id) for row in outbox()}


def test_old_inbox_rows_and_answers_are_deleted_and_young_ones_kept(broker):
    listen()
    tell(a_teller(), "old")
    relay()
    broker.drain()
    for key in ("old", "young"):
        Idempotency.objects.create(scope="s", key=key, fingerprint="f", status=200, body="")
        if key == "old":
            age("orders_idempotency", "created_at")
    age("billing_inbox", "applied_at")
    tell(a_teller(), "young")
    relay()
    broker.drain()

    prune()
    assert Inbox.objects.count() == 1
    assert [row.key for row in Idempotency.objects.all()] == ["young"]


def test_an_event_whose_inbox_row_was_deleted_is_still_not_applied_again(broker):
    listen()
    [event_id] = tell(a_teller(), "a")
    relay()
    broker.drain()
    age("billing_inbox", "applied_at")
    prune()
    assert Inbox.objects.count() == 0

    assert deliver("orders", "billing", [event_id]) == 0
    assert trial.effects() == ["billing:a#1"]


def test_pruning_does_not_make_a_hole_for_a_context_that_has_not_read_so_far(broker):
    """Nobody listens to the second event, so it is settled at once, and nobody has read it."""
    listen()
    teller = a_teller()
    tell(teller, "first")
    relay()
    broker.drain()
    tell(teller, "psst", event=Whispered)
    relay()
    grow_old()
    republish()
    grow_old(MONTHS)
    prune()
    assert Outbox.objects.count() == 0

    tell(teller, "third")
    relay()
    broker.drain()
    assert trial.effects() == ["billing:first#1", "billing:third#3"]
    assert position(teller) == 3


def test_an_event_behind_a_dead_letter_is_not_deleted_however_old(broker, settings):
    settings.SAGAS = {**settings.SAGAS, "HANDLER_ATTEMPTS": 1}
    failing = Failing(bad=1)
    listen(act=failing)
    teller = a_teller()
    tell(teller, "good")
    relay()
    broker.drain()
    tell(teller, "bad")
    tell(teller, "psst", event=Whispered)
    relay()
    broker.drain()
    grow_old()
    republish()
    grow_old(MONTHS)

    prune()
    assert list(outbox().values_list("type", flat=True)) == [Told.name, Whispered.name]


def test_pruning_goes_on_until_nothing_old_is_left(broker, monkeypatch):
    monkeypatch.setattr(pruning, "BATCH", 2)
    tell(a_teller(), *"abcde", event=Whispered)
    relay()
    grow_old(MONTHS)

    assert prune() == 5
    assert Outbox.objects.count() == 0


@pytest.fixture
def in_slices(broker, settings):
    """Each run prunes one batch; returns the tasks that it rings for."""
    settings.SAGAS = {**settings.SAGAS, "STEP_TIMEOUT": 1e-6, "DELIVERY_SIZE": 1}

    def tick():
        broker.take()
        pruning.tick()
        return [message.task for message in broker.take()]

    return tick


def test_pruning_rings_for_what_is_left_when_its_slice_is_spent(in_slices, monkeypatch):
    monkeypatch.setattr(pruning, "BATCH", 2)
    tell(a_teller(), *"abcde", event=Whispered)
    relay()
    grow_old(MONTHS)

    for left in (3, 1):
        assert in_slices() == ["sagas.prune"]
        assert Outbox.objects.count() == left
    assert in_slices() == []
    assert Outbox.objects.count() == 0


def test_who_is_behind_reads_past_what_is_pruned_slice_by_slice(broker, in_slices):
    listen()
    tellers = [a_teller() for _ in range(3)]
    for teller in tellers:
        tell(teller, "heard")
    relay()
    broker.drain()
    for teller in tellers:
        tell(teller, "psst", event=Whispered)
    relay()
    grow_old()
    republish()
    grow_old(MONTHS)

    catch_up(60.0)

    lefts = []
    while in_slices() == ["sagas.prune"]:
        lefts.append(Outbox.objects.filter(type=Whispered.name).count())
    assert lefts == [2, 1]
    assert Outbox.objects.count() == 0
    assert [position(teller) for teller in tellers] == [2] * 3


def test_what_cannot_be_deleted_rings_for_nothing(broker, in_slices, settings):
    settings.SAGAS = {**settings.SAGAS, "HANDLER_ATTEMPTS": 1}
    listen(act=Failing(bad=2))
    tellers = [a_teller() for _ in range(2)]
    for teller in tellers:
        tell(teller, "good")
    relay()
    broker.drain()
    for teller in tellers:
        tell(teller, "bad")
        tell(teller, "psst", event=Whispered)
    relay()
    broker.drain()
    grow_old()
    republish()
    grow_old(MONTHS)
    catch_up(60.0)

    for _ in range(2):
        assert in_slices() == []
        assert Outbox.objects.count() == 4
        # In a busy shop there is always something that can be deleted besides.
        tell(a_teller(), "good")
        relay()
        broker.drain()
        grow_old()
        republish()
        grow_old(MONTHS)


def test_what_cannot_be_deleted_does_not_stand_before_what_can(
    broker, in_slices, monkeypatch, settings
):
    monkeypatch.setattr(pruning, "BATCH", 2)
    settings.SAGAS = {**settings.SAGAS, "HANDLER_ATTEMPTS": 1}
    listen(act=Failing(bad=2))
    stuck = a_teller()
    tell(stuck, "good")
    relay()
    broker.drain()
    tell(stuck, "bad")
    tell(stuck, *"abc", event=Whispered)
    relay()
    broker.drain()
    tell(a_teller(), "d", event=Whispered)
    relay()
    grow_old()
    republish()
    grow_old(MONTHS)
    catch_up(60.0)

    for _ in range(3):
        in_slices()
    assert set(Outbox.objects.values_list("aggregateid", flat=True)) == {stuck.id}


def test_pruning_that_has_come_to_an_end_rings_for_nothing_however_long_it_took(broker, in_slices):
    """Every run of a busy shop deletes something: one that takes long would ring for ever."""
    tell(a_teller(), "a", event=Whispered)
    relay()
    grow_old(MONTHS)

    assert in_slices() == []
    assert Outbox.objects.count() == 0


def test_of_several_runs_of_pruning_at_once_one_goes_on(broker, in_slices, monkeypatch):
    """Each that begins while another is at it would else ring for itself until all is done."""
    monkeypatch.setattr(pruning, "BATCH", 1)
    tell(a_teller(), *"abc", event=Whispered)
    relay()
    grow_old(MONTHS)

    with monkeypatch.context() as patched:

        def another_comes(_):
            patched.undo()
            assert in_slices() == []

        patched.setattr(pruning.catching_up, "catch_up", another_comes)
        assert in_slices() == ["sagas.prune"]
    assert Outbox.objects.count() == 2

    assert in_slices() == ["sagas.prune"]
    assert Outbox.objects.count() == 1
