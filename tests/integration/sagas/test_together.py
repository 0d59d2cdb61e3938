"""One step of several sagas in one commit, and how they part when it cannot be."""

import threading
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django.db import IntegrityError, OperationalError, connection, connections

from sagas import failpoints
from sagas.api import (
    Lock,
    Meeting,
    Rejected,
    ask_to_cancel,
    cancel,
    current_run,
    transaction,
    uuid7,
)
from sagas.core import codec
from sagas.core.keys import Direction
from sagas.models import SagaInstance, SemanticLock, StepFault, StepRun
from sagas.orchestration import batch, canvas, carried, donekeys, registry, store, together
from sagas.orchestration.batch import run_batch
from sagas.orchestration.handlers import HANDLERS
from sagas.orchestration.sweep import sweep
from sagas.orchestration.wakes import Wake
from tests.databases import rows
from tests.integration.sagas import trial, trio
from tests.integration.sagas.conftest import make_due, row
from tests.integration.sagas.test_link_ends import raising
from tests.together import together as beside

WAY = Wake(name="orders.trio", version=1, direction=Direction.DO, low=1, high=3)

pytestmark = pytest.mark.colocated  # over two databases no commit is shared


@pytest.fixture
def shared(broker, monkeypatch, settings):
    """The broker's messages, of which one is enough for several sagas."""
    monkeypatch.undo()
    monkeypatch.setattr(canvas, "publish", broker)
    settings.STEP_QUEUES = "shared"
    donekeys.client().flushdb()
    trio.register()
    return broker


def begin(shared, count, saga=trio.TRIO):
    ids = sorted(trio.begin(saga=saga) for _ in range(count))  # as a batch has them
    shared.take()
    return ids


def go(ids, wake=WAY):
    return run_batch(ids[0], wake.low, wake.high, wake.direction, swept=False, of=wake.of)


def statuses(ids):
    return [row(saga_id).status for saga_id in ids]


def journal(saga_id):
    runs = StepRun.objects.filter(saga_id=saga_id).order_by("id")
    return [
        (r.direction, r.name, r.state, r.context, r.effect_key, r.attempts, r.reply) for r in runs
    ]


def barriers(saga_id):
    found = rows(
        "SELECT step_no, direction, state, reply FROM orders_barrier WHERE saga_id = %s"
        " ORDER BY id",
        [saga_id],
    )
    return [tuple(each) for each in found]


def commits():
    """In which transactions what has taken effect was committed."""
    return [each[0] for each in rows("SELECT xmin::text FROM public.trial_effect ORDER BY id")]


def only(saga_id, act):
    """Let something happen in one saga's step only."""

    def script():
        if current_run().saga_id == saga_id:
            act()

    return script


def rejecting(*ids):
    def script():
        if not ids or current_run().saga_id in ids:
            raise Rejected("no_room")

    return script


class Died(BaseException):
    """Ends the work there and then, as a death of the process would."""


@contextmanager
def dying_at(place):
    def die(name, detail):
        if name == place:
            raise Died

    with pytest.raises(Died), failpoints.listening(die):
        yield


# -- what is shared -------------------------------------------------------------------------------


def test_sagas_that_stand_at_one_step_make_it_in_one_commit(shared):
    ids = begin(shared, 4)
    go(ids)

    assert statuses(ids) == ["completed"] * 4
    assert trial.effects() == ["take"] * 4 + ["lift"] * 4 + ["send"] * 4
    found = commits()
    assert [len(set(found[n : n + 4])) for n in (0, 4, 8)] == [1, 1, 1]
    assert len(set(found)) == 3


def test_each_is_left_as_if_it_had_been_alone(shared):
    [alone] = begin(shared, 1)
    go([alone])
    ids = begin(shared, 3)
    go(ids)

    def said(saga_id):
        told = [list(entry) for entry in journal(saga_id)]
        return str([told, barriers(saga_id)]).replace(str(saga_id), "ID")

    for saga_id in ids:
        assert said(saga_id) == said(alone)
        saga, one = row(saga_id), row(alone)
        same = ("status", "cursor", "attempts", "past_return", "leased_until", "due_at", "hints")
        assert [getattr(saga, name) for name in same] == [getattr(one, name) for name in same]
        assert saga.finished_at is not None
        assert saga.state["weight"] == str(saga_id)  # its own reply, not a neighbor's


def test_on_the_way_back_they_share_what_this_worker_has_seen_them_do(shared):
    trial.SCRIPT["send"] = rejecting()
    ids = begin(shared, 3)
    go(ids)

    assert statuses(ids) == ["compensated"] * 3
    back = trial.effects()[6:]
    assert back == ["lower"] * 3 + ["put_back"] * 3 + ["close"] * 3
    found = commits()
    assert [len(set(found[n : n + 3])) for n in (6, 9, 12)] == [1, 1, 3]


def test_what_another_worker_did_is_undone_alone_since_its_door_must_be_closed(shared):
    ids = begin(shared, 3)
    with dying_at("together.committed"):
        go(ids)
    for saga_id in ids:
        cancel(saga_id, reason="no", by="alice")
    shared.drain()

    assert statuses(ids) == ["compensated"] * 3
    assert trial.effects() == ["take"] * 3 + ["put_back", "close"] * 3
    assert len(set(commits()[3:])) == 6


def the_order(state: trio.TrioState) -> tuple[str, UUID]:
    return "orders.order", UUID(state.order)


def test_who_waits_for_a_lock_gets_it_from_each_alone(shared):
    lock = Lock(on=the_order, meeting=Meeting.WAIT)
    saga = registry.add(replace(trio.TRIO, name="orders.trio_locked", lock=lock))
    try:
        orders = [str(uuid7()) for _ in range(3)]
        first, then = ([trio.begin(saga=saga, order=order) for order in orders] for _ in range(2))
        shared.take()
        go(first, replace(WAY, name=saga.name))

        assert statuses(first) == ["completed"] * 3
        found = commits()
        assert [len(set(found[n : n + 3])) for n in (0, 3, 6)] == [1, 1, 3]
        assert {held.saga_id for held in SemanticLock.objects.all()} == {*then}
        shared.drain()
        assert statuses(then) == ["completed"] * 3
        assert not SemanticLock.objects.exists()
    finally:
        registry.SAGAS.pop((saga.name, saga.version))


def test_a_child_ends_alone_and_its_parent_is_rung(shared):
    ids, parents = begin(shared, 3), [trial.begin() for _ in range(2)]
    for saga_id, parent_id in zip(ids, parents, strict=False):
        SagaInstance.objects.filter(id=saga_id).update(parent_id=parent_id, parent_step=1)
    rung = []
    with failpoints.listening(lambda name, _: rung.append(name)):
        go(ids)

    assert statuses(ids) == ["completed"] * 3
    assert rung.count("child.committed") == 2


def test_only_what_says_so_is_shared(shared):
    saga = trio.TRIO
    assert [together.shares(saga, n, Direction.DO) for n in range(-1, 5)] == [
        *(False, False),  # before the first, and the step that was begun with the start
        *(True, True, True, False),
    ]
    trial_steps = [together.shares(trial.TRIAL, n, Direction.DO) for n in range(5)]
    assert trial_steps == [False, True, False, False, True]  # calls, and a step that says nothing


# -- one for all is all for one --------------------------------------------------------------------


def test_a_fault_of_one_is_its_own(shared):
    ids = begin(shared, 3)
    trial.SCRIPT["lift"] = only(ids[1], raising(RuntimeError("down"), RuntimeError("still down")))
    go(ids)

    assert statuses(ids) == ["completed", "running", "completed"]
    assert trial.effects(ids[0]) == trial.effects(ids[2]) == ["take", "lift", "send"]
    assert trial.effects(ids[1]) == ["take"]
    [fault] = StepFault.objects.all()
    assert (fault.saga_id, fault.name, fault.attempt, fault.error) == (
        *(ids[1], "lift", 1),
        "RuntimeError: still down",
    )
    assert [row(saga_id).attempts for saga_id in ids] == [0, 1, 0]


def test_a_fault_that_goes_away_costs_nobody_anything(shared):
    ids = begin(shared, 3)
    trial.SCRIPT["lift"] = only(ids[1], raising(RuntimeError("down")))
    go(ids)

    assert statuses(ids) == ["completed"] * 3
    assert not StepFault.objects.exists()
    assert sorted(trial.effects()) == sorted(["take", "lift", "send"] * 3)


def test_a_no_to_one_turns_it_round_and_no_other(shared):
    ids = begin(shared, 3)
    trial.SCRIPT["lift"] = rejecting(ids[1])
    go(ids)

    assert statuses(ids) == ["completed", "compensated", "completed"]
    assert trial.effects(ids[1]) == ["take", "put_back", "close"]
    assert [fault.saga_id for fault in StepFault.objects.all()] == [ids[1]]


def test_a_saga_that_somebody_has_turned_round_meanwhile_keeps_nobody(shared):
    ids = begin(shared, 3)
    told = []

    def turn():
        if current_run().saga_id == ids[2] and not told:
            told.extend(beside(lambda: cancel(ids[1], reason="no", by="alice")))

    trial.SCRIPT["lift"] = turn
    go(ids)
    make_due(ids[1])
    sweep()
    shared.drain()

    assert statuses(ids) == ["completed", "compensated", "completed"]
    assert trial.effects(ids[1]) == ["take", "put_back", "close"]


def test_one_whose_time_is_over_goes_its_own_way(shared):
    ids = begin(shared, 3)
    SagaInstance.objects.filter(id=ids[1]).update(
        deadline_at=row(ids[1]).started_at - timedelta(seconds=1)
    )
    go(ids)
    shared.drain()

    assert statuses(ids) == ["completed", "compensated", "completed"]
    assert trial.effects(ids[1]) == ["close"]


def test_one_that_has_passed_the_return_stands_beside_none_that_has_not(shared):
    ids = begin(shared, 3)
    SagaInstance.objects.filter(id=ids[1]).update(past_return=True)
    go(ids)

    assert statuses(ids) == ["completed"] * 3
    found = commits()
    assert found[0] == found[1] != found[2]


def test_a_reply_that_nobody_could_read_is_the_fault_of_who_gave_it(shared, monkeypatch):
    ids = begin(shared, 2)
    handler = HANDLERS["orders.TrioLift"]

    def lift(command):
        return "heavy" if current_run().saga_id == ids[1] else handler.carry_out(command)

    monkeypatch.setitem(HANDLERS, "orders.TrioLift", replace(handler, carry_out=lift))
    go(ids)

    assert statuses(ids) == ["completed", "running"]
    assert trial.effects(ids[1]) == ["take"]
    assert StepFault.objects.get().saga_id == ids[1]


def test_a_state_that_nobody_can_store_is_the_fault_of_whose_it_is(shared, monkeypatch):
    ids = begin(shared, 4)
    kept = trio.LIFT.keep

    def keep(state, reply):
        return replace(kept(state, reply), weight=5) if state.subject == ids[1] else state

    changed = replace(trio.TRIO)
    steps = tuple(replace(one, keep=keep if one.keep else None) for one in trio.TRIO.steps)
    object.__setattr__(changed, "steps", steps)
    monkeypatch.setitem(registry.SAGAS, (trio.TRIO.name, 1), changed)
    go(ids)

    assert [fault.saga_id for fault in StepFault.objects.all()] == [ids[1]]
    assert statuses(ids).count("completed") == 3


def test_when_the_commit_is_refused_and_no_time_is_left_one_of_them_goes_alone(shared, monkeypatch):
    ids = begin(shared, 3)
    refused = []

    def move(parts):
        refused.append(len(parts))
        raise IntegrityError("a rule that is asked at the commit")

    monkeypatch.setattr(together, "_move", move)
    for module in (batch, carried, together):
        monkeypatch.setattr(module, "is_spent", lambda _: bool(refused))
    go(ids)
    monkeypatch.undo()

    assert refused == [3]
    assert [trial.effects(saga_id) for saga_id in ids] == [["take"], [], []]
    assert [row(saga_id).leased_until for saga_id in ids] == [None] * 3
    assert [row(saga_id).attempts for saga_id in ids] == [0] * 3


def test_what_cannot_even_be_read_stops_nobody_else(shared, monkeypatch):
    ids = begin(shared, 5)
    really = codec.decode

    def decode(kind, value):
        if value.get("subject") == str(ids[2]):
            raise AssertionError("a rule of the state's own")
        return really(kind, value)

    monkeypatch.setattr(codec, "decode", decode)
    rounds = 0
    own = ids[0]
    while own is not None and rounds < 9:
        rounds += 1
        with suppress(AssertionError):
            run_batch(own, WAY.low, WAY.high, WAY.direction, swept=False, of=WAY.of)
        own = next((UUID(message.args[0]) for message in shared.take()), None)

    assert statuses(ids).count("completed") == 4
    assert (row(ids[2]).attempts, row(ids[2]).leased_until is None) == (1, False)
    assert rounds < 4


def test_sagas_of_two_definitions_make_no_step_together(shared):
    steps = (trio.OPEN, replace(trio.TAKE, name="grab"), trio.LIFT)
    shorter = registry.add(replace(trio.TRIO, name="orders.trio_short", steps=steps))
    try:
        ids, other = begin(shared, 2), trio.begin(saga=shorter)
        shared.take()
        # A message that names another definition than its saga has.
        run_batch(other, 1, 3, Direction.DO, swept=False, of=WAY.of)
        shared.drain()

        for saga_id in ids:
            assert trial.effects(saga_id) == ["take", "lift", "send"]
        assert [entry[1] for entry in journal(other)] == ["open", "grab", "lift"]
    finally:
        registry.SAGAS.pop((shorter.name, shorter.version))


# -- who meets others -----------------------------------------------------------------------------


@pytest.fixture
def holding():
    """Somebody who holds the row of a saga until told to let go."""
    free = threading.Event()
    threads = []

    def hold(saga_id, also=lambda: None):
        has_it = threading.Event()

        def work():
            with transaction("orders"):
                ask_to_cancel(saga_id, reason="no", by="alice")
                has_it.set()
                free.wait(20)
                also()

        def alone():
            try:
                work()
            finally:
                connections.close_all()

        threads.append(threading.Thread(target=alone))
        threads[-1].start()
        assert has_it.wait(20)

    yield hold
    free.set()
    for thread in threads:
        thread.join(20)


def test_a_row_that_somebody_holds_is_not_waited_for_together(shared, holding):
    ids = begin(shared, 4)
    once = []

    def script():
        if not once:
            once.append(True)
            holding(ids[2])

    trial.SCRIPT["take"] = script
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '300ms'")
    with pytest.raises(OperationalError):  # alone, the one is waited for, and its fault as well
        go(ids)
    with connection.cursor() as cursor:
        cursor.execute("RESET lock_timeout")

    others = [saga_id for saga_id in ids if saga_id != ids[2]]
    assert [row(saga_id).leased_until for saga_id in others] == [None] * 3
    assert [row(saga_id).attempts for saga_id in others] == [0] * 3
    shared.drain()
    assert statuses(others) == ["completed"] * 3


# -- the slice, the time limit, the end of the process --------------------------------------------


def test_a_slice_that_is_spent_on_the_way_commits_those_that_are_done(shared, monkeypatch):
    ids = begin(shared, 4)
    slices = []

    def spent(_):
        # Before the step, after the first saga's part of it, after the second's, and so on.
        slices.append(len(slices) >= 2)
        return slices[-1]

    for module in (batch, carried, together):
        monkeypatch.setattr(module, "is_spent", spent)
    go(ids)

    assert [trial.effects(saga_id) for saga_id in ids] == [["take"]] * 2 + [[]] * 2
    assert len(set(commits()[:2])) == 1
    assert [row(saga_id).leased_until for saga_id in ids] == [None] * 4
    assert [row(saga_id).attempts for saga_id in ids] == [0] * 4
    assert len(shared.sent) > 0
    monkeypatch.undo()


def test_after_the_time_limit_no_other_step_is_begun(shared, monkeypatch):
    ids = begin(shared, 3)
    begun = []

    def too_long():
        begun.append(current_run().saga_id)
        raise SoftTimeLimitExceeded

    for module in (batch, carried, together):
        monkeypatch.setattr(module, "is_spent", lambda _: bool(begun))
    trial.SCRIPT["take"] = too_long
    go(ids)
    monkeypatch.undo()

    assert begun == ids[:1]
    assert [row(saga_id).attempts for saga_id in ids] == [1, 0, 0]


def test_a_step_that_is_out_of_time_is_a_fault_of_the_one_that_was_worked_at(shared):
    ids = begin(shared, 3)
    trial.SCRIPT["lift"] = only(ids[1], raising(SoftTimeLimitExceeded()))
    go(ids)

    [fault] = StepFault.objects.all()
    assert (fault.saga_id, fault.name) == (ids[1], "lift")
    assert [row(saga_id).attempts for saga_id in ids] == [0, 1, 0]
    assert statuses([ids[0], ids[2]]) == ["completed"] * 2


def test_broken_off_the_one_that_was_worked_at_keeps_its_attempt_and_the_others_are_free(shared):
    ids = begin(shared, 3)
    trial.SCRIPT["take"] = only(ids[1], raising(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        go(ids)

    assert trial.effects() == []
    assert [row(saga_id).leased_until is None for saga_id in ids] == [True, False, True]
    assert [row(saga_id).attempts for saga_id in ids] == [0, 1, 0]


@pytest.mark.parametrize(
    ("place", "effects"),
    [("together.before_commit", []), ("together.committed", ["take"] * 3)],
    ids=["before the commit", "after the commit"],
)
def test_whoever_dies_around_a_shared_commit_leaves_all_or_nothing(shared, place, effects):
    ids = begin(shared, 3)
    with dying_at(place):
        go(ids)

    assert trial.effects() == effects
    for saga_id in ids:
        make_due(saga_id)
    sweep()
    shared.drain()
    assert statuses(ids) == ["completed"] * 3
    assert sorted(trial.effects()) == sorted(["take", "lift", "send"] * 3)


def test_a_worker_that_froze_before_a_shared_commit_changes_nothing_when_it_thaws(shared):
    ids = begin(shared, 3)
    thawed = []

    def freeze(name, detail):
        if name == "claim.committed" and not thawed:
            thawed.append(name)
            for saga_id in ids:
                make_due(saga_id)
            sweep()
            shared.drain()

    with failpoints.listening(freeze):
        go(ids)

    assert thawed
    assert statuses(ids) == ["completed"] * 3
    assert sorted(trial.effects()) == sorted(["take", "lift", "send"] * 3)


def test_a_time_limit_right_after_a_shared_commit_does_no_step_twice(shared):
    ids = begin(shared, 3)
    struck = []

    def strike(name, detail):
        if name == "together.committed" and not struck:
            struck.append(name)
            raise SoftTimeLimitExceeded

    with failpoints.listening(strike):
        go(ids)
    assert trial.effects() == ["take"] * 3
    for _ in range(3):
        for saga in SagaInstance.objects.filter(id__in=ids, finished_at=None):
            make_due(saga.id)
        sweep()
        shared.drain()

    assert statuses(ids) == ["completed"] * 3
    assert sorted(trial.effects()) == sorted(["take", "lift", "send"] * 3)


# -- the statement --------------------------------------------------------------------------------


def test_the_statement_of_many_is_the_one_of_one_over_rows(shared):
    many = together._for_many(store.MOVE)
    for guard in (
        "WHERE id = held.held_id",
        "status = %(status)s",
        "cursor = %(step_no)s",
        "fencing_token = held.held_token",
        "WHERE b.state = 'intended'",
        "WHERE r.state = 'intended'",
    ):
        assert many.count(guard) == 1, guard
    of_one = {"%(id)s", "%(token)s", "%(reply)s", "%(effect_key)s", "%(attempts)s", "%(started)s"}
    assert not [name for name in of_one if name in many]
