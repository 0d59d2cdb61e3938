"""A context in another database: two transactions for a step, and what may come between them.

Runs in every mode. Where the suite has one database, each context gets a connection of its own to
it, so that nothing commits together that could not.
"""

from dataclasses import replace

import pytest
from django.db import connection, connections

from sagas.api import (
    Again,
    AlreadyStarted,
    Cancellation,
    IdTaken,
    Locked,
    Rejected,
    Signaled,
    UnfitKey,
    cancel,
    signal,
    start,
    transaction,
)
from sagas.core.keys import Direction
from sagas.failpoints import FailpointHit
from sagas.models import DeadLetter, SagaInstance, Signal
from sagas.models.step_run import StepRun
from sagas.orchestration import asking, barriers, commits, orchestrator, registry, requests, store
from sagas.orchestration.carried import LinkEnd
from sagas.orchestration.executor import run_link
from sagas.outbox import delivery, discarding, relay, subscriptions
from sagas.transactions import EngineElsewhere, connection_of, is_detached
from tests.integration.sagas import locking, trial, waiting
from tests.integration.sagas.conftest import make_due, row
from tests.integration.sagas.test_link_ends import raising
from tests.together import together

CONTEXTS = ("orders", "billing", "payments")
FORWARD = ["take", "hold", "capture", "book"]
CHANGED = replace(trial.TRIAL, steps=trial.TRIAL.steps[:-1])
BACK = ["put_back", "release", "close"]


@pytest.fixture(autouse=True)
def detached(settings, trial_saga, monkeypatch):
    """Every context has a connection of its own, and a database too if the suite has them."""
    if not settings.CONTEXT_DATABASES:
        for context in CONTEXTS:
            monkeypatch.setitem(connections.settings, context, dict(connection.settings_dict))
        settings.CONTEXT_DATABASES = {context: context for context in CONTEXTS}
        monkeypatch.setattr(subscriptions, "SUBSCRIPTIONS", dict(subscriptions.SUBSCRIPTIONS))
        requests.listen()
    yield
    for context in CONTEXTS:
        connections[context].close()


def forward(saga_id, low=1, high=4):
    return run_link(saga_id, low, high, Direction.DO, swept=True)


def undo(saga_id, low=0, high=4):
    return run_link(saga_id, low, high, Direction.UNDO, swept=True)


def dying_once(monkeypatch, place, detail):
    """Let whoever comes to a place fail there, the first time."""
    hit = []

    def failpoint(name, at=""):
        if (name, at) == (place, detail) and not hit:
            hit.append(name)
            raise FailpointHit(name)

    monkeypatch.setattr(commits, "failpoint", failpoint)
    return hit


def begun(broker):
    saga_id = trial.begin()
    broker.take()
    return saga_id


def to_the_end(saga_id):
    for _ in range(4):
        saga = row(saga_id)
        if saga.finished_at:
            return saga.status
        make_due(saga_id)
        forward(saga_id) if saga.status == "running" else undo(saga_id)
    raise AssertionError(row(saga_id).status)


def barrier(context, saga_id, step_no, direction="do"):
    with connection_of(context).cursor() as cursor:
        cursor.execute(
            f"SELECT state FROM {context}_barrier"
            " WHERE saga_id = %s AND step_no = %s AND direction = %s",
            [saga_id, step_no, direction],
        )
        found = cursor.fetchone()
    return found and found[0]


def test_the_engines_rows_cannot_be_part_of_a_detached_transaction():
    assert [context for context in CONTEXTS if is_detached(context)] == list(CONTEXTS)
    with pytest.raises(EngineElsewhere), transaction("orders"):
        store.engine_cursor()


def test_a_saga_over_three_databases_runs_to_its_end(broker):
    saga_id = begun(broker)

    assert forward(saga_id) is LinkEnd.PASSED
    assert row(saga_id).status == "completed"
    assert trial.effects() == FORWARD


@pytest.mark.parametrize("place", ["effect.before_commit", "effect.committed"])
@pytest.mark.parametrize("step", FORWARD)
def test_a_step_that_stops_between_its_two_commits_is_carried_out_once(
    broker, monkeypatch, step, place
):
    saga_id = begun(broker)
    hit = dying_once(monkeypatch, place, step)
    forward(saga_id)

    assert hit == [place]
    assert to_the_end(saga_id) == "completed"
    assert trial.effects() == FORWARD
    assert [run.state for run in StepRun.objects.filter(saga_id=saga_id)] == ["done"] * 5


@pytest.mark.parametrize("place", ["effect.before_commit", "effect.committed"])
@pytest.mark.parametrize("step", ["book", "hold", "take", "open"])
def test_an_undo_that_stops_between_its_two_commits_is_carried_out_once(
    broker, monkeypatch, step, place
):
    saga_id = begun(broker)
    forward(saga_id, 1, 2)
    cancel(saga_id, reason="no", by="alice")
    hit = dying_once(monkeypatch, place, f"undo.{step}")
    undo(saga_id)

    assert hit == [place]
    assert to_the_end(saga_id) == "compensated"
    assert trial.effects() == ["take", "hold", "release", "put_back", "close"]


@pytest.mark.parametrize("place", ["effect.before_commit", "effect.committed"])
@pytest.mark.parametrize("step", ["take", "hold", "capture"])
def test_a_no_that_is_recorded_is_remembered(broker, monkeypatch, step, place):
    saga_id = begun(broker)
    trial.SCRIPT[step] = raising(Rejected("no_stock"))
    hit = dying_when_rejected(monkeypatch, place, step)
    forward(saga_id)

    assert hit == [place]
    if place == "effect.before_commit":
        trial.SCRIPT[step] = raising(Rejected("no_stock"))  # else nobody is asked again
    assert to_the_end(saga_id) == "compensated"
    assert row(saga_id).failure == "no_stock"


def dying_when_rejected(monkeypatch, place, step):
    """Fail where a rejection, not an intent, is committed."""
    hit = []
    taken = barriers.take
    states = []

    def take(work, direction, state, reply):
        states.append(state)
        taken(work, direction, state, reply)

    def failpoint(name, at=""):
        if (name, at) == (place, step) and states[-1:] == ["rejected"] and not hit:
            hit.append(name)
            raise FailpointHit(name)

    monkeypatch.setattr(barriers, "take", take)
    monkeypatch.setattr(commits, "failpoint", failpoint)
    return hit


def test_a_step_that_a_cancel_overtakes_between_its_commits_is_undone(broker, monkeypatch):
    saga_id = begun(broker)

    def canceled(name, at=""):
        if (name, at) == ("effect.committed", "take"):
            assert cancel(saga_id, reason="no", by="alice") is Cancellation.ACCEPTED

    monkeypatch.setattr(commits, "failpoint", canceled)

    assert forward(saga_id) is LinkEnd.STOPPED
    assert to_the_end(saga_id) == "compensated"
    assert trial.effects() == ["take", "put_back", "close"]


def late_take(broker):
    """A worker that is in the middle of a step while the whole compensation runs."""
    saga_id = begun(broker)

    def canceled():
        cancel(saga_id, reason="no", by="alice")
        return undo(saga_id)

    def overtaken():
        assert together(canceled) == [LinkEnd.PASSED]

    trial.SCRIPT["take"] = overtaken
    assert forward(saga_id) is LinkEnd.STOPPED
    assert row(saga_id).status == "compensated"
    assert trial.effects() == ["close"], "a step took effect after its undo"


def late_answer(broker):
    """A worker that has its answer while the whole compensation has run, and records it."""
    saga_id = begun(broker)

    def overtaken():
        cancel(saga_id, reason="no", by="alice")
        assert together(lambda: undo(saga_id)) == [LinkEnd.PASSED]
        return "h1"

    trial.SCRIPT["hold"] = overtaken
    assert forward(saga_id) is LinkEnd.STOPPED
    assert row(saga_id).status == "compensated"
    assert trial.effects() == ["take", "release", "put_back", "close"], "recorded after its undo"
    assert barrier("payments", saga_id, 2) == "abandoned"


def copies(broker):
    """Two copies of a message of which neither knows of the other."""
    saga_id = begun(broker)

    def again():
        del trial.SCRIPT["take"]
        make_due(saga_id)
        assert together(lambda: forward(saga_id)) == [LinkEnd.PASSED]

    trial.SCRIPT["take"] = again
    assert forward(saga_id) is LinkEnd.STOPPED
    assert trial.effects() == FORWARD, "a step took effect twice"


def stopped_between(broker):
    """A worker that dies between the two commits."""
    saga_id = begun(broker)
    with pytest.MonkeyPatch.context() as patch:
        dying_once(patch, "effect.committed", "take")
        forward(saga_id)
    try:
        end = to_the_end(saga_id)
    except AssertionError as stuck:
        raise AssertionError("the saga is stuck behind its own barrier row") from stuck
    assert (end, trial.effects()) == ("completed", FORWARD)


SCENARIOS = [late_take, late_answer, copies, stopped_between]


@pytest.fixture
def no_look(monkeypatch):
    """The look before an effect is no guard, and hides the guards behind it."""
    monkeypatch.setattr(barriers, "check", lambda *_: None)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_with_its_guards_the_scenario_is_right(broker, no_look, scenario):
    scenario(broker)


def no_tombstone(monkeypatch):
    monkeypatch.setattr(barriers, "journal_forward", lambda *_: None)
    monkeypatch.setattr(store, "_TOMBSTONE", store._TOMBSTONE.replace("'canceled') ON", "'x') ON"))
    monkeypatch.setattr(barriers, "CLOSED", frozenset())
    monkeypatch.setattr(
        barriers,
        "_RECORDED",
        barriers._RECORDED.replace("<> 'intended'", "NOT IN ('intended', 'x', 'abandoned')"),
    )
    monkeypatch.setattr(
        barriers, "_TAKE", barriers._TAKE.replace("= 'intended'", "IN ('intended', 'x')")
    )


def intents_left_open(monkeypatch):
    kept = store._TOMBSTONE.replace("SET state = 'abandoned'", "SET state = 'intended'")
    monkeypatch.setattr(store, "_TOMBSTONE", kept)


def no_row(monkeypatch):
    monkeypatch.setattr(barriers, "take", lambda *_: None)


def hit_is_the_end(monkeypatch):
    def stop(work, direction):
        if barriers_recorded(work, direction) is not None:
            raise store.StaleFencingToken

    barriers_recorded = barriers.recorded
    monkeypatch.setattr(barriers, "recorded", stop)


@pytest.mark.parametrize(
    ("without", "scenario", "wrong"),
    [
        (no_tombstone, late_take, "after its undo"),
        (intents_left_open, late_answer, "after its undo"),
        (no_row, copies, "twice"),
        (hit_is_the_end, stopped_between, "stuck"),
    ],
)
def test_without_its_guard_the_scenario_goes_wrong(
    broker, no_look, monkeypatch, without, scenario, wrong
):
    without(monkeypatch)
    with pytest.raises(AssertionError, match=wrong):
        scenario(broker)


def test_a_saga_starts_by_the_outbox_of_its_context(broker, monkeypatch):
    def dying(place, detail):
        raise FailpointHit(place)

    monkeypatch.setattr(requests, "failpoint", dying)  # at request.posted
    saga_id = trial.begin()
    assert not SagaInstance.objects.filter(id=saga_id).exists()

    assert relay.relay_batch("orders") == 1
    broker.drain()

    assert row(saga_id).status == "completed"
    assert trial.effects() == FORWARD


def test_a_start_whose_process_dies_after_its_commit_is_told_by_the_relay(broker, monkeypatch):
    monkeypatch.setenv("CONCORD_FAILPOINTS", "request.posted/orders=raise:1")
    saga_id = trial.begin()
    assert not SagaInstance.objects.filter(id=saga_id).exists()

    assert relay.relay_batch("orders") == 1
    broker.drain()

    assert row(saga_id).status == "completed"


def test_a_start_that_was_heard_at_once_is_nothing_for_the_relay(broker):
    saga_id = trial.begin()

    assert row(saga_id).status == "running"
    assert relay.relay_batch("orders") == 0


def test_a_request_that_the_relay_has_published_keeps_the_time_of_it(broker, monkeypatch):
    told = []

    def relayed(place, detail):
        relay.relay_batch("orders")
        told.append(times_of_requests())

    monkeypatch.setattr(requests, "failpoint", relayed)
    trial.begin()

    assert times_of_requests() == told[0]
    assert None not in told[0]


@pytest.mark.parametrize("relayed_first", [True, False])
def test_a_request_is_in_the_history_of_its_context_whoever_settles_it(
    broker, monkeypatch, relayed_first
):
    """Its own process settles it right after the commit, unless a relay was faster."""
    if relayed_first:
        monkeypatch.setattr(requests, "failpoint", lambda *_: relay.relay_batch("orders"))
    trial.begin()

    with connection_of("orders").cursor() as cursor:
        cursor.execute("SELECT id, number FROM orders_event")
        kept = cursor.fetchall()
        cursor.execute("SELECT id, sequence FROM orders_outbox")
        assert kept == cursor.fetchall() != []


def times_of_requests():
    with connection_of("orders").cursor() as cursor:
        cursor.execute("SELECT published_at FROM orders_outbox")
        return [published_at for (published_at,) in cursor.fetchall()]


def test_a_start_is_heard_once_however_often_it_is_told(broker):
    saga_id = begun(broker)
    with connection_of("orders").cursor() as cursor:
        cursor.execute("UPDATE orders_outbox SET published_at = NULL, settled_at = NULL")

    assert relay.relay_batch("orders") == 1
    [told] = broker.take()
    broker.run_chain(told)

    assert broker.take() == []
    assert row(saga_id).status == "running"


def test_a_start_that_is_rolled_back_never_was(broker):
    saga_id = trial.uuid7()

    def rolled_back():
        with transaction("orders"):
            state = trial.TrialState(subject=saga_id)
            orchestrator.start(trial.TRIAL, state, key="rolled back", saga_id=saga_id)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        rolled_back()

    assert relay.relay_batch("orders") == 0
    assert not SagaInstance.objects.exists()
    assert barrier("orders", saga_id, 0) is None


def test_the_same_business_key_comes_to_the_same_id(broker):
    state = trial.TrialState(subject=trial.uuid7())
    ids = []
    for _ in range(2):
        with transaction("orders"):
            ids.append(orchestrator.start(trial.TRIAL, state, key="once"))

    assert ids[0] == ids[1] == SagaInstance.objects.get().id


def test_a_start_that_the_engine_has_not_heard_of_is_found_in_the_outbox(broker, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(requests, "_deliver", lambda *_: None)
        first = begun_under("k", broker)
        assert begun_under("k", broker) == first
        with pytest.raises(AlreadyStarted, match=f"started before: saga {first}"):
            begun_under("k", broker, again=Again.REFUSE)
        assert begun_under("k", broker, again=Again.AFTER_END) == first
    assert not SagaInstance.objects.exists()

    assert relay.relay_batch("orders") == 1
    broker.drain()
    assert [saga.id for saga in SagaInstance.objects.all()] == [first]
    assert begun_under("k", broker, again=Again.AFTER_END) != first


def test_a_later_run_that_the_engine_has_not_heard_of_is_numbered_when_it_has(broker, monkeypatch):
    # Begun before the first run ended, so it is none that followed.
    SagaInstance.objects.filter(id=begun_under("another", broker)).update(key="k#2")
    first = trial.begin("k")
    broker.drain()
    with monkeypatch.context() as patch:
        patch.setattr(requests, "_deliver", lambda *_: None)
        later = begun_under("k", broker, again=Again.AFTER_END)
        assert begun_under("k", broker, again=Again.AFTER_END) == later
        with pytest.raises(UnfitKey):
            begun_under("k#3", broker)

    assert relay.relay_batch("orders") == 1
    broker.drain()
    found = SagaInstance.objects.get(id=later)
    assert (found.key, found.run) == ("k#3", 3)
    assert later != first


def test_a_start_under_the_id_of_another_saga_is_refused_before_anything_is_asked_for(broker):
    saga_id = trial.begin()
    state = trial.TrialState(subject=saga_id)
    with transaction("orders"), pytest.raises(IdTaken, match=str(saga_id)):
        start(trial.TRIAL, state, key="another", saga_id=saga_id)

    assert len(times_of_requests()) == 1
    assert DeadLetter.objects.count() == 0


def test_another_saga_under_a_key_that_is_taken_waits_for_an_operator(broker, monkeypatch):
    first = begun_under("k", broker)
    with connection_of("orders").cursor() as cursor:
        cursor.execute("DELETE FROM orders_outbox")
    with monkeypatch.context() as patch:
        patch.setattr(asking, "_taken", lambda _: None)
        begun_under("k", broker)

    assert [saga.id for saga in SagaInstance.objects.all()] == [first]
    assert "KeyTaken" in DeadLetter.objects.get().reason


def test_a_lock_that_is_taken_between_look_and_commit_turns_the_second_saga_round(
    broker, monkeypatch
):
    locking.register()
    first = locking.begin(locking.CHANGE, order_id := trial.uuid7())
    with pytest.raises(Locked, match=f"held by saga orders.change .*{first}"):
        locking.begin(locking.RETURN, order_id)
    with monkeypatch.context() as patch:
        patch.setattr(asking, "_meet", lambda *_: None)
        second = locking.begin(locking.RETURN, order_id)
    assert (row(second).status, row(second).failure) == ("compensating", "locked")

    broker.drain()
    assert [row(saga).status for saga in (first, second)] == ["completed", "compensated"]
    assert trial.effects() == ["take", "book"], "of the first alone"


def test_a_second_start_is_not_refused_by_the_first_of_which_the_engine_hears_meanwhile(
    broker, monkeypatch, asked
):
    locking.register()
    order_id = trial.uuid7()
    first, ids = asked(lambda: locking.begin(locking.RETURN, order_id, key="k"))
    meet = asking._meet

    def heard_in_between(*args):
        # In a thread: here the transaction of the second start is open.
        assert together(lambda: delivery.deliver("orders", "sagas", ids)) == [1]
        return meet(*args)

    monkeypatch.setattr(asking, "_meet", heard_in_between)
    assert locking.begin(locking.RETURN, order_id, key="k") == first


def test_a_second_start_is_the_first_also_while_another_saga_has_the_lock(broker, asked):
    """The engine has not heard of the first; whoever is refused there is told so later."""
    locking.register()
    order_id = trial.uuid7()
    first, _ = asked(lambda: locking.begin(locking.RETURN, order_id, key="k"))
    locking.begin(locking.CHANGE, order_id)

    assert locking.begin(locking.RETURN, order_id, key="k") == first
    with pytest.raises(Locked):
        locking.begin(locking.RETURN, order_id, key="another")


def begun_under(key, broker, **options):
    saga_id = trial.begin(key, **options)
    broker.take()
    return saga_id


def test_a_cancel_in_a_detached_transaction_is_asked_for(broker):
    saga_id = begun(broker)
    with transaction("orders"):
        said = orchestrator.ask_to_cancel(saga_id, reason="no", by="alice")
        assert row(saga_id).status == "running"

    assert said is Cancellation.ASKED
    assert row(saga_id).status == "compensating"
    with transaction("orders"):
        again = orchestrator.ask_to_cancel(saga_id, reason="no", by="alice")
    assert again is Cancellation.FINISHED


def ask_to_cancel(saga_id):
    with transaction("orders"):
        return orchestrator.ask_to_cancel(saga_id, reason="no", by="alice")


@pytest.mark.parametrize(
    ("begin", "undone"),
    [(trial.begin, ["close"]), (waiting.begin, [])],
    ids=["begun by its starter", "with nothing begun"],
)
@pytest.mark.parametrize("lost", [False, True], ids=["not yet told", "lost on the way"])
def test_a_cancel_that_comes_before_its_start_brings_it_along(broker, asked, lost, begin, undone):
    """Its own attempts would be over before a start that was lost is sent again."""
    waiting.register()
    saga_id, start = asked(begin)
    if lost:
        assert relay.relay_batch("orders") == 1
        broker.take()

    assert ask_to_cancel(saga_id) is Cancellation.ASKED
    assert row(saga_id).status == "compensating"
    assert delivery.deliver("orders", "sagas", start) == 0, "it was heard"
    broker.drain()
    assert (row(saga_id).status, trial.effects(saga_id)) == ("compensated", undone)
    assert DeadLetter.objects.count() == 0


def test_a_cancel_finds_a_saga_that_the_engine_hears_of_while_it_looks(broker, monkeypatch, asked):
    waiting.register()
    saga_id, start = asked(waiting.begin)
    look = requests._is_on_its_way

    def look_late(of):
        together(lambda: delivery.deliver("orders", "sagas", start) and settle(start))
        return look(of)

    def settle(ids):
        with connection_of("orders").cursor() as cursor:
            sql = "UPDATE orders_outbox SET published_at = now(), settled_at = now() WHERE id = %s"
            cursor.execute(sql, ids)

    monkeypatch.setattr(requests, "_is_on_its_way", look_late)

    assert ask_to_cancel(saga_id) is Cancellation.ASKED
    assert row(saga_id).status == "compensating"


def test_a_cancel_brings_no_start_along_that_was_discarded(broker, monkeypatch, asked):
    saga_id, start = asked(trial.begin)
    with monkeypatch.context() as broken:
        broken.setattr(orchestrator, "begin", lambda *_, **__: 1 / 0)
        assert delivery.deliver("orders", "sagas", start) == 0
    assert discarding.discard(DeadLetter.objects.get().id, by="olga", reason="never")

    assert ask_to_cancel(saga_id) is Cancellation.ASKED
    assert "NoSuchSaga" in DeadLetter.objects.get(resolved_at=None).reason
    assert not SagaInstance.objects.exists()


def test_a_cancel_before_a_start_that_this_release_does_not_know_is_left_too(
    broker, monkeypatch, asked
):
    saga_id, start = asked(trial.begin)
    _, both = asked(lambda: ask_to_cancel(saga_id))
    [cancel_alone] = set(both) - set(start)
    with monkeypatch.context() as older:
        older.setattr(registry, "SAGAS", {})
        assert [delivery.deliver("orders", "sagas", [cancel_alone]) for _ in range(6)] == [0] * 6
    assert (DeadLetter.objects.count(), SagaInstance.objects.count()) == (0, 0)

    assert delivery.deliver("orders", "sagas", [cancel_alone]) == 1
    assert row(saga_id).status == "compensating"


# -- another release -------------------------------------------------------------------------------


@pytest.fixture
def asked(monkeypatch):
    """Requests that wait in the outbox of orders, since nobody delivers them at once."""

    def ids(ask):
        with monkeypatch.context() as slow:
            slow.setattr(requests, "_deliver", lambda *_: None)
            answer = ask()
        with connection_of("orders").cursor() as cursor:
            cursor.execute("SELECT id FROM orders_outbox WHERE settled_at IS NULL")
            return answer, [str(each) for (each,) in cursor.fetchall()]

    return ids


@pytest.mark.parametrize("late", [False, True], ids=["at once", "late"])
@pytest.mark.parametrize("here", [{}, {(CHANGED.name, 1): CHANGED}], ids=["unknown", "changed"])
def test_a_start_that_this_release_does_not_know_is_left_to_one_that_does(
    broker, monkeypatch, asked, here, late
):
    """As a saga is that lives already: no attempt is counted, and no operator is needed."""
    saga_id, ids = asked(trial.begin)
    if late:
        with connection_of("orders").cursor() as cursor:
            cursor.execute("UPDATE orders_outbox SET published_at = now() - interval '1 hour'")
    with monkeypatch.context() as older:
        older.setattr(registry, "SAGAS", here)
        assert [delivery.deliver("orders", "sagas", ids) for _ in range(6)] == [0] * 6
    assert (DeadLetter.objects.count(), SagaInstance.objects.count()) == (0, 0)

    assert delivery.deliver("orders", "sagas", ids) == 1
    assert row(saga_id).status == "running"


def test_a_signal_for_a_saga_that_this_release_does_not_know_is_left_too(
    broker, monkeypatch, asked
):
    waiting.register()
    saga_id = waiting.begin()

    def approve():
        with transaction("orders"):
            return signal(saga_id, "approve", waiting.Approved(by="alice"), key="k")

    answer, ids = asked(approve)
    assert answer is Signaled.ASKED
    with monkeypatch.context() as older:
        older.setattr(registry, "SAGAS", {})
        assert [delivery.deliver("orders", "sagas", ids) for _ in range(6)] == [0] * 6
    assert (DeadLetter.objects.count(), Signal.objects.count()) == (0, 0)

    assert delivery.deliver("orders", "sagas", ids) == 1
    assert Signal.objects.get().saga_id == saga_id
