"""One message, several sagas: what is shared, what never is, and how a batch dies."""

from uuid import UUID

import pytest
import redis
from django.db import OperationalError, connection

from sagas.api import Cancellation, Rejected, cancel, current_run, transaction
from sagas.core.keys import Direction
from sagas.models import StepFault, StepRun
from sagas.orchestration import canvas, claims, donekeys, executor, registry, stops, store, wakes
from sagas.orchestration.batch import _Batch, run_batch
from sagas.orchestration.carried import LinkEnd
from sagas.orchestration.sweep import sweep
from sagas.orchestration.wakes import Silence, Wake
from sagas.transactions import is_detached
from tests.integration.sagas import trial, trio
from tests.integration.sagas.conftest import make_due, row
from tests.integration.sagas.test_link_ends import raising
from tests.together import raised, together

LIFE_MS = wakes.LIFE_MS
ALL = Wake(name="orders.trial", version=1, direction=Direction.DO, low=1, high=4)
ALL_BACK = Wake(name="orders.trial", version=1, direction=Direction.UNDO, low=0, high=4)


@pytest.fixture
def shared(broker, monkeypatch, settings):
    """The broker's messages, of which one is enough for several sagas."""
    monkeypatch.undo()
    monkeypatch.setattr(canvas, "publish", broker)
    monkeypatch.setattr(wakes, "LIFE_MS", 60_000)  # however slow the machine is
    settings.STEP_QUEUES = "shared"
    donekeys.client().flushdb()
    return broker


def forward(saga_id, *, swept=False):
    return run_batch(saga_id, 1, 4, Direction.DO, swept=swept, of=ALL.of)


def sent(broker):
    """The saga and the arguments of each message."""
    messages = [getattr(message, "tasks", [message])[0] for message in broker.take()]
    return [(message.args[0], message.args[1:]) for message in messages]


def statuses(ids):
    return [row(saga_id).status for saga_id in ids]


def begin(count):
    return [trial.begin() for _ in range(count)]


def claim_all(own, most=20):
    return claims.claim_batch(own, ALL, status="running", most=most)


# -- one message for many -------------------------------------------------------------------------


def test_while_a_message_is_unread_it_stands_for_those_that_come_after_it(shared):
    first, *_ = begin(5)

    assert sent(shared) == [(str(first), (1, 4, False, "orders.trial/1"))]


def test_a_message_that_was_taken_up_is_followed_by_the_next(shared):
    first = trial.begin()
    shared.take()
    forward(first)
    second = trial.begin()

    assert sent(shared) == [(str(second), (1, 4, False, "orders.trial/1"))]


def test_one_message_carries_five_sagas_to_their_call_and_one_of_them_past_it(shared):
    ids = begin(5)
    shared.drain()

    assert statuses(ids) == ["completed"] * 5
    assert [row(saga_id).attempts for saga_id in ids] == [0] * 5
    # Every local step came first; nobody waited for another one's call.
    assert trial.effects()[:5] == ["take"] * 5
    assert sorted(trial.CALLS) == ["capture"] * 5 + ["hold"] * 5


def test_sagas_that_come_to_a_call_get_messages_of_their_own(shared):
    ids = begin(3)
    [message] = shared.take()
    assert shared.run_chain(message) == "ignored"

    found = sent(shared)
    assert statuses(ids) == ["completed", "running", "running"]
    # Alone, since the step under their cursor calls out: they share no message. Ids made within
    # one millisecond are in no order.
    assert sorted(found) == sorted((str(saga_id), (2, 4, False)) for saga_id in ids[1:])
    assert [(row(s).leased_until, row(s).attempts) for s in ids[1:]] == [(None, 0)] * 2


def test_a_full_batch_rings_for_the_rest_before_it_begins(shared, settings):
    settings.SAGAS = {**settings.SAGAS, "CLAIM_BATCH": 2}
    heard = []
    trial.SCRIPT["take"] = lambda: heard.append(len(shared.sent))
    ids = begin(5)
    [message] = shared.take()
    shared.run_chain(message)

    assert heard == [1, 1]
    assert sent(shared)[0] == (str(ids[2]), (1, 4, False, "orders.trial/1"))


def test_a_batch_of_one_rings_for_the_rest_before_it_begins(shared, settings):
    settings.SAGAS = {**settings.SAGAS, "CLAIM_BATCH": 1}
    heard = []
    trial.SCRIPT["take"] = lambda: heard.append(len(shared.sent))
    ids = begin(3)
    [message] = shared.take()
    shared.run_chain(message)

    assert heard == [1]
    assert sent(shared)[0] == (str(ids[1]), (1, 4, False, "orders.trial/1"))


def test_a_batch_that_cannot_look_for_the_rest_is_carried_out_all_the_same(
    shared, settings, monkeypatch
):
    """It is leased: nobody else could do it for that long."""
    settings.SAGAS = {**settings.SAGAS, "CLAIM_BATCH": 1}
    [own] = begin(1)

    def canceled(*_, **__):
        raise OperationalError("canceling statement due to statement timeout")

    monkeypatch.setattr(claims, "next_ready", canceled)
    with pytest.raises(OperationalError, match="timeout"):
        forward(own)

    assert (row(own).status, row(own).leased_until) == ("completed", None)


def test_a_saga_that_was_tried_before_rings_before_it_begins(shared):
    heard = []
    trial.SCRIPT["take"] = lambda: heard.append(len(shared.sent))
    own, neighbor = begin(2)
    shared.take()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE sagas_saga SET attempts = 1 WHERE id = %s", [own])
    forward(own)

    assert heard == [1]
    assert sent(shared)[0] == (str(neighbor), (1, 4, False, "orders.trial/1"))


def test_a_full_batch_that_leaves_nobody_rings_for_nobody(shared, settings):
    settings.SAGAS = {**settings.SAGAS, "CLAIM_BATCH": 2}
    ids = begin(2)
    shared.take()
    forward(ids[0])

    assert sent(shared) == [(str(ids[1]), (2, 4, False))]


def test_on_the_way_back_one_message_carries_several_sagas_too(shared):
    ids = begin(3)
    shared.take()
    for saga_id in ids:
        assert cancel(saga_id, reason="no", by="alice") is Cancellation.ACCEPTED
    assert [arguments for _, arguments in sent(shared)] == [(0, 4, False, "orders.trial/1")]

    run_batch(ids[0], 0, 4, Direction.UNDO, swept=False, of=ALL_BACK.of)
    shared.drain()
    assert statuses(ids) == ["compensated"] * 3
    assert trial.effects() == ["close"] * 3


def test_on_queues_of_their_own_a_batch_brings_each_saga_to_its_next_link(shared, settings):
    settings.STEP_QUEUES = "per-context"
    ids = begin(3)
    shared.drain()

    assert statuses(ids) == ["completed"] * 3
    assert sorted(trial.effects()) == sorted(["take", "hold", "capture", "book"] * 3)


def test_a_rejection_in_a_batch_is_undone_whatever_the_queues(shared, settings):
    settings.STEP_QUEUES = "per-context"
    ids = begin(3)

    def take():
        if current_run().saga_id in ids[:2]:
            raise Rejected("out_of_stock")

    trial.SCRIPT["take"] = take
    shared.drain()

    assert statuses(ids) == ["compensated", "compensated", "completed"]
    assert trial.effects().count("close") == 2


def test_a_rejection_is_undone_by_the_task_that_heard_it(shared):
    trial.SCRIPT["take"] = raising(Rejected("out_of_stock"))
    saga_id = trial.begin()
    [message] = shared.take()

    assert shared.run_chain(message) == "ignored"
    assert shared.take() == []
    saga = row(saga_id)
    assert (saga.status, saga.failure, saga.failed_step) == ("compensated", "out_of_stock", "take")
    assert (saga.attempts, saga.leased_until, saga.due_at) == (0, None, None)
    assert trial.effects() == ["close"]


def test_what_this_worker_has_just_committed_is_undone_without_asking_what_it_came_to(
    shared, monkeypatch
):
    asked = []

    def tombstone(claimed, step_no, context):
        asked.append(step_no)
        return planted(claimed, step_no, context)

    planted = store.tombstone
    monkeypatch.setattr(store, "tombstone", tombstone)
    trial.SCRIPT["capture"] = raising(Rejected("no"))
    saga_id = trial.begin()
    [message] = shared.take()
    shared.run_chain(message)

    # "book" never ran, and "open" was committed with the start.
    assert asked == [4, 0]
    assert row(saga_id).status == "compensated"
    assert trial.effects() == ["take", "hold", "release", "put_back", "close"]


def test_a_rejection_whose_task_has_used_up_its_slice_is_left_to_the_error_callback(
    shared, settings
):
    settings.SAGAS = {**settings.SAGAS, "TIME_SLICE": 0.0}
    trial.SCRIPT["take"] = raising(Rejected("out_of_stock"))
    saga_id = trial.begin()
    [message] = shared.take()

    assert shared.run_chain(message) == "rejected"
    assert row(saga_id).leased_until is None
    assert [callback.task for callback in shared.sent] == ["sagas.continue_saga"]


def test_the_undo_that_follows_a_rejection_counts_its_attempts_and_is_parked(shared, settings):
    settings.SAGAS = {**settings.SAGAS, "MAX_ATTEMPTS": 1}
    trial.SCRIPT["take"] = raising(Rejected("out_of_stock"))
    trial.SCRIPT["close"] = raising(RuntimeError("down"))
    saga_id = trial.begin()
    shared.drain()

    saga = row(saga_id)
    assert saga.parked_reason == "open: 1 attempts, the last: RuntimeError: down"
    assert [(f.kind, f.direction) for f in StepFault.objects.order_by("at")] == [
        ("rejected", "do"),
        ("fault", "undo"),
    ]


# -- who is taken along ---------------------------------------------------------------------------


def test_what_a_batch_takes_is_fresh_and_stands_in_front_of_the_link(shared):
    ids = begin(8)
    own, fresh, tried, leased, parked, delayed, turned, further = ids
    with connection.cursor() as cursor:
        for saga_id, change in (
            (tried, "attempts = 1"),
            (leased, "leased_until = clock_timestamp() + interval '1 minute'"),
            (parked, "parked_at = now(), parked_reason = 'by hand'"),
            (delayed, "not_before = clock_timestamp() - interval '1 second'"),
            (turned, "status = 'compensating', cursor = 4"),
            (further, "cursor = 2"),
        ):
            cursor.execute(f"UPDATE sagas_saga SET {change} WHERE id = %s", [saga_id])

    assert [claim.saga_id for claim in claim_all(own)] == [own, fresh]


def test_a_saga_that_was_tried_before_takes_nobody_along(shared):
    own, neighbor = begin(2)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE sagas_saga SET attempts = 1 WHERE id = %s", [own])

    assert [claim.saga_id for claim in claim_all(own)] == [own]
    assert row(neighbor).attempts == 0


def test_a_message_whose_saga_is_gone_carries_the_others(shared):
    own, *others = begin(3)
    shared.take()
    cancel(own, reason="no", by="alice")
    shared.take()

    assert forward(own) is LinkEnd.STOPPED
    shared.drain()
    assert statuses(others) == ["completed"] * 2


def test_a_message_whose_saga_another_batch_has_carries_those_who_relied_on_it(shared):
    """Rung for by a full batch, taken by the next one: those who came then rang no more."""
    own = trial.begin()
    taken = claim_all(None)
    late = begin(2)
    assert len(shared.take()) == 1, "the unread message stands for all of them"

    assert forward(own) is LinkEnd.STOPPED
    assert [claim.saga_id for claim in taken] == [own]
    assert row(own).cursor == 1, "it is still in the other hand"
    shared.drain()
    assert statuses(late) == ["completed"] * 2


def test_a_batch_whose_messages_saga_another_has_is_full_without_it(shared, settings):
    """Else who is left waits until it has done its work, which may be a call of ten seconds."""
    settings.SAGAS = {**settings.SAGAS, "CLAIM_BATCH": 2}
    heard = []
    trial.SCRIPT["take"] = lambda: heard.append(len(shared.sent))
    own = trial.begin()
    assert claim_all(None, most=1) != []
    late = begin(4)
    shared.take()
    forward(own)

    assert heard == [1, 1]
    assert sent(shared)[0] == (str(late[2]), (1, 4, False, "orders.trial/1"))


@pytest.mark.parametrize("most", [1, 2, 20])
def test_a_message_whose_saga_another_has_leaves_nobody_to_the_sweeper(shared, settings, most):
    settings.SAGAS = {**settings.SAGAS, "CLAIM_BATCH": most}
    own = trial.begin()
    assert claim_all(None, most=1) != []
    late = begin(most + 2)
    assert len(shared.take()) == 1, "the unread message stands for all of them"

    forward(own)
    shared.drain(200)
    assert statuses(late) == ["completed"] * len(late)


def test_a_saga_that_was_tried_before_rings_for_those_who_relied_on_its_message(shared):
    own, neighbor = begin(2)
    shared.take()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE sagas_saga SET attempts = 1 WHERE id = %s", [own])

    assert forward(own) is LinkEnd.PASSED
    assert sent(shared) == [(str(neighbor), (1, 4, False, "orders.trial/1"))]
    assert statuses([own, neighbor]) == ["completed", "running"]


def test_a_message_whose_saga_is_remembered_as_done_carries_the_others(shared):
    own, other = begin(2)
    shared.take()
    executor.run_link(own, 1, 4, Direction.DO)
    donekeys.remember(own, 1, 4, Direction.DO)

    assert forward(own) is LinkEnd.PASSED
    assert statuses([own, other]) == ["completed"] * 2
    assert trial.effects().count("take") == 2


def test_a_release_that_does_not_know_the_definition_takes_nobody_along(shared, monkeypatch):
    own, other = begin(2)
    monkeypatch.setattr(registry, "SAGAS", {})
    assert forward(own) is LinkEnd.STOPPED

    assert (row(own).attempts, row(own).not_before is None) == (0, False)
    assert (row(other).attempts, row(other).not_before) == (0, None)


def test_the_sweepers_first_hint_for_fresh_sagas_is_one_message_and_the_next_is_not(shared):
    ids = begin(3)
    shared.take()
    donekeys.client().flushdb()  # nobody took the message up, and its key has ended
    for saga_id in ids:
        make_due(saga_id)

    assert sweep() == 3
    assert [arguments for _, arguments in sent(shared)] == [(1, 4, True, "orders.trial/1")]
    for saga_id in ids:
        make_due(saga_id)
    assert sweep() == 3
    assert dict(sent(shared)) == {str(saga_id): (1, 4, True) for saga_id in ids}


# -- how a batch ends badly -----------------------------------------------------------------------


def test_a_batch_whose_slice_is_spent_gives_the_unbegun_back_with_their_attempt(shared, settings):
    settings.SAGAS = {**settings.SAGAS, "TIME_SLICE": 0.0}
    ids = begin(3)
    [message] = shared.take()
    assert shared.run_chain(message) == "ignored"

    assert trial.effects() == ["take"]
    for saga_id in ids[1:]:
        saga = row(saga_id)
        assert (saga.cursor, saga.attempts, saga.leased_until) == (1, 0, None)
    # The first one goes on by a message of its own, the others share one.
    assert [arguments for _, arguments in sent(shared)] == [
        (2, 4, False),
        (1, 4, False, "orders.trial/1"),
    ]
    settings.SAGAS = {**settings.SAGAS, "TIME_SLICE": 60.0}
    forward(ids[1])
    shared.drain()
    executor.run_link(ids[0], 2, 4, Direction.DO)
    assert statuses(ids) == ["completed"] * 3


@pytest.mark.parametrize("remembered", [False, True], ids=["another has it", "remembered as done"])
def test_a_process_that_does_not_know_the_definition_takes_nobody_along(
    shared, monkeypatch, remembered
):
    """It would put the other off, which a process that knows it could have begun at once."""
    own, other = begin(2)
    shared.take()
    assert store.claim(own, status="running", low=1, high=4)
    if remembered:
        donekeys.remember(own, 1, 4, Direction.DO)
    monkeypatch.delitem(registry.SAGAS, (trial.TRIAL.name, trial.TRIAL.version))
    forward(own)

    assert (row(other).fencing_token, row(other).not_before) == (0, None)


def test_whoever_was_given_back_comes_before_those_who_came_later(shared, settings):
    """However its id compares with theirs, and however long there are more than a slice carries."""
    settings.SAGAS = {**settings.SAGAS, "TIME_SLICE": 0.0, "CLAIM_BATCH": 3}
    trio.register()
    trio.begin()
    last = trio.begin(UUID(int=2**128 - 1))
    trio.begin()
    rounds = 0
    while row(last).cursor == 1 and rounds < 10:
        [message] = [message for message in shared.take() if message.args[1] == 1]
        shared.run_chain(message)
        trio.begin()
        rounds += 1

    assert rounds <= 3


def test_an_unbegun_saga_further_on_in_the_link_has_a_message_of_its_own(
    shared, settings, monkeypatch
):
    monkeypatch.setattr(_Batch, "_go_together", lambda _: False)  # which begins all of them
    further, *before = begin(3)
    shared.take()
    executor.run_link(further, 1, 1, Direction.DO)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE sagas_saga SET fencing_token = 9 WHERE id = ANY(%s)", [before])
    settings.SAGAS = {**settings.SAGAS, "TIME_SLICE": 0.0}
    forward(further)

    assert (row(further).cursor, row(further).leased_until) == (2, None)
    assert (str(further), (2, 4, False)) in sent(shared)


def test_a_claim_locks_no_more_than_it_takes(shared):
    ids = begin(4)

    def free():
        with connection.cursor() as cursor:
            cursor.execute("SELECT id FROM sagas_saga FOR UPDATE SKIP LOCKED")
            return len(cursor.fetchall())

    with transaction("sagas"):
        assert len(claim_all(ids[0], most=2)) == 2
        assert together(free) == [2]


def test_a_batch_that_died_half_way_is_brought_to_its_end_one_by_one(shared):
    ids = begin(4)
    shared.take()
    taken = claim_all(ids[0])
    # The first one was carried out when the process died.
    executor.Carried(taken[0], 1, 4, Direction.DO, chained=False).carry_on()
    for saga_id in ids[1:]:
        make_due(saga_id)

    assert sweep() == 3
    messages = sent(shared)
    # A lease that ran out is an attempt: from now on each has messages of its own.
    assert [arguments for _, arguments in messages] == [(1, 4, True)] * 3
    assert [row(saga_id).attempts for saga_id in ids[1:]] == [1] * 3
    for saga_id in ids[1:]:
        executor.run_link(saga_id, 1, 4, Direction.DO, swept=True)
    assert statuses(ids) == ["completed"] * 4
    assert trial.effects().count("take") == 4


def test_a_saga_that_died_in_its_second_step_is_not_fresh_either(shared):
    saga_id, other = begin(2)
    shared.take()
    claimed = claim_all(saga_id)[0]
    executor.Carried(claimed, 1, 4, Direction.DO, chained=False).carry_on(calls=False)
    saga = row(saga_id)
    assert (saga.cursor, saga.attempts, saga.leased_until is None) == (2, 0, False)
    make_due(saga_id)
    sweep()

    assert row(saga_id).attempts == 1
    assert [arguments for saga, arguments in sent(shared)] == [(2, 4, True)]
    assert row(other).attempts == 1


def test_poison_in_a_batch_costs_its_neighbors_one_attempt_once(shared):
    poison, *neighbors = begin(3)
    for _ in range(3):
        shared.take()
        claim_all(poison)  # and the process dies
        for saga_id in (poison, *neighbors):
            if row(saga_id).leased_until is not None:
                make_due(saga_id)
        sweep()

    assert row(poison).attempts == 3
    assert [row(saga_id).attempts for saga_id in neighbors] == [1, 1]


def test_a_frozen_worker_thaws_after_its_batch_was_taken_by_others_and_changes_nothing(shared):
    ids = begin(3)
    shared.take()
    frozen = claim_all(ids[0])
    for saga_id in ids:
        make_due(saga_id)
    for saga_id in ids:
        executor.run_link(saga_id, 1, 4, Direction.DO, swept=True)
    before = list(StepRun.objects.order_by("id").values())

    _Batch(frozen, ALL).run()
    assert claims.give_back(frozen) == set()
    assert list(StepRun.objects.order_by("id").values()) == before
    assert trial.effects() == ["take", "hold", "capture", "book"] * 3
    assert shared.take() == []


def test_a_frozen_worker_gives_back_nothing_that_another_one_holds(shared):
    ids = begin(2)
    shared.take()
    frozen = claim_all(ids[0])
    for saga_id in ids:
        make_due(saga_id)
    for saga_id in ids:
        assert store.claim(saga_id, status="running", low=1, high=4) is not None

    assert claims.give_back(frozen) == set()
    assert [row(saga_id).leased_until is None for saga_id in ids] == [False, False]
    assert [row(saga_id).attempts for saga_id in ids] == [2, 2]


def test_a_saga_that_is_canceled_after_its_claim_and_before_its_turn_is_undone(shared):
    first, second = begin(2)
    turned = []
    trial.SCRIPT["take"] = lambda: turned.extend(
        together(lambda: stops.begin_compensation(second, failure="no", by="alice"))
    )
    shared.drain()
    # Nobody was moved together; alone the second one was tried too, and refused by the token. Over
    # two databases there is no together, and it is refused before its effect.
    assert turned == ([True] if is_detached("orders") else [True, False, False, False])
    assert row(second).status == "compensating"
    make_due(second)
    sweep()
    shared.drain()

    assert statuses([first, second]) == ["completed", "compensated"]
    assert trial.effects() == ["take", "hold", "capture", "book", "close"]


def test_a_batch_that_is_broken_off_gives_the_unbegun_back(shared):
    def stop():
        raise KeyboardInterrupt

    trial.SCRIPT["take"] = stop
    ids = begin(3)
    shared.take()
    with pytest.raises(KeyboardInterrupt):
        forward(ids[0])

    assert [row(saga_id).leased_until is None for saga_id in ids] == [False, True, True]
    assert [row(saga_id).attempts for saga_id in ids] == [1, 0, 0]


def test_batches_that_want_each_others_sagas_do_not_wait_for_each_other(shared):
    for _ in range(5):
        ids = begin(6)
        shared.take()

        found = together(*[lambda own=own: claim_all(own) for own in ids])

        assert raised(found) == []
        taken = [claim.saga_id for claims_ in found for claim in claims_]
        assert sorted(taken) == sorted(ids)


# -- Redis ----------------------------------------------------------------------------------------


@pytest.fixture
def redis_away(monkeypatch):
    """Nobody answers at the address of Redis; counts who asked."""
    asked = []

    def away():
        asked.append(None)
        return redis.Redis.from_url("redis://127.0.0.1:1/0")

    monkeypatch.setattr(wakes, "client", away)
    monkeypatch.setattr(wakes, "_silence", Silence("wake_unheard"))
    return asked


def test_without_redis_everybody_rings_and_only_the_first_one_asks(shared, redis_away):
    ids = begin(3)

    assert [saga for saga, _ in sent(shared)] == [str(saga_id) for saga_id in ids]
    assert len(redis_away) == 1


def test_a_message_that_the_broker_refuses_stands_for_nobody(shared, monkeypatch):
    with monkeypatch.context() as refusing:
        refusing.setattr(canvas, "publish", lambda *_, **__: False)
        trial.begin()
    second = trial.begin()

    assert [saga for saga, _ in sent(shared)] == [str(second)]


def test_a_key_that_cannot_be_taken_back_ends_by_itself(shared, redis_away):
    wakes.take_back(ALL)
    wakes.take_back(ALL)

    assert len(redis_away) == 1


@pytest.mark.parametrize(
    "put",
    [lambda redis: redis.set(ALL.key, "1"), lambda redis: redis.lpush(ALL.key, "1")],
    ids=["without an end", "none of ours"],
)
def test_a_key_that_never_ends_silences_nobody_for_good(shared, put):
    """Redis reckons by the clock of its machine, which somebody may set back."""
    put(donekeys.client())
    saga_id = trial.begin()
    for expected in ([], [(str(saga_id), (1, 4, True))]):
        make_due(saga_id)
        assert sweep() == 1
        assert sent(shared) == expected
    second = trial.begin()

    assert sent(shared) == [(str(second), (1, 4, False, "orders.trial/1"))]


def test_a_wake_up_whose_message_is_lost_is_forgotten_within_a_second(shared, monkeypatch):
    monkeypatch.setattr(wakes, "LIFE_MS", LIFE_MS)
    trial.begin()

    assert 0 < donekeys.client().pttl(ALL.key) <= 1000
