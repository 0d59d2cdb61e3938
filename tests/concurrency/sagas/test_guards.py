"""Each guard is taken out of its statement, and a named scenario goes wrong.

Where another guard does the same work as long as engine and context share a database, the test says
so by its name, and takes both out to show that one of them is needed.
"""

import pytest
from django.db import IntegrityError, connection

from sagas.api import Cancellation, cancel, park
from sagas.core.keys import Direction
from sagas.orchestration import stops, store
from sagas.orchestration.carried import LinkEnd
from sagas.orchestration.executor import run_link
from tests.concurrency.sagas.races import Gate
from tests.integration.sagas import trial
from tests.integration.sagas.conftest import make_due, row
from tests.integration.sagas.test_link_ends import raising
from tests.together import together

MOVE_STATUS = "status = %(status)s AND cursor"
MOVE_CURSOR = "cursor = %(step_no)s"
MOVE_TOKEN = "AND fencing_token = %(token)s"
FENCE = (
    (store, "MOVE", MOVE_STATUS, "cursor"),
    (store, "MOVE", MOVE_CURSOR, "true"),
    (store, "MOVE", MOVE_TOKEN, ""),
)
NO_STATUS, NO_CURSOR, NO_TOKEN = FENCE
NO_BARRIER = (store, "MOVE", "WHERE b.state = 'intended'", "")


def forward(saga_id, low=1, high=4, **options):
    return run_link(saga_id, low, high, Direction.DO, **options)


def undo(saga_id, low=0, high=4):
    return run_link(saga_id, low, high, Direction.UNDO, swept=True)


def a_saga(broker):
    saga_id = trial.begin()
    broker.take()
    return saga_id


# -- scenarios: each returns when everything is right, and raises an AssertionError when not ---


def parked_during_a_call(broker):
    """An operator parks the saga while a worker waits for the provider's answer."""
    saga_id = a_saga(broker)
    trial.SCRIPT["hold"] = lambda: park(saga_id, by="alice", reason="stop") and "h1"
    forward(saga_id, 1, 2)
    assert trial.effects() == ["take"], "a step was recorded although the saga is parked"
    assert row(saga_id).cursor == 2


def canceled_during_a_call(broker):
    """A customer cancels while a worker waits for the provider's answer."""
    saga_id = a_saga(broker)
    trial.SCRIPT["hold"] = lambda: cancel(saga_id, reason="no", by="alice") and "h1"
    forward(saga_id, 1, 2)
    assert row(saga_id).status == "compensating", "the cancel was overwritten"
    assert trial.effects() == ["take"]


def thawed_after_its_compensation(broker):
    """A worker froze in a local step, and thaws when the step has been passed on the way back."""
    gate = Gate()
    trial.SCRIPT["take"] = gate.wait_here
    saga_id = a_saga(broker)

    def compensation():
        gate.when_reached()
        cancel(saga_id, reason="no", by="alice")
        undo(saga_id, 1, 4)
        gate.open()

    together(lambda: forward(saga_id, 1, 1), compensation)
    assert "take" not in trial.effects(), "a step took effect after it had been compensated"


@pytest.fixture
def one_claim_for_all(monkeypatch):
    """Every worker believes in the claim of the first one."""

    def share(saga_id):
        claimed = store.claim(saga_id, status="running", low=1, high=4)
        monkeypatch.setattr(store, "claim", lambda *_, **__: claimed)

    return share


@pytest.fixture
def run_twice_under_one_claim(one_claim_for_all):
    """A worker whose commit got through and whose answer did not, runs the step again."""

    def scenario(broker):
        saga_id = a_saga(broker)
        one_claim_for_all(saga_id)
        forward(saga_id, 1, 1, swept=True)
        forward(saga_id, 1, 1, swept=True)
        assert trial.effects() == ["take"], "one step took effect twice"

    return scenario


def overtaken_in_a_call(broker):
    """A worker's fault comes after its lease ran out and another one has the saga."""
    saga_id = a_saga(broker)

    def slow():
        make_due(saga_id)
        assert store.claim(saga_id, status="running", low=1, high=4) is not None
        raise RuntimeError("late")

    trial.SCRIPT["hold"] = slow
    forward(saga_id, 1, 2)
    assert row(saga_id).leased_until is not None, "the fault ended another worker's lease"


def a_copy_comes_while_parked(broker):
    saga_id = a_saga(broker)
    park(saga_id, by="alice", reason="stop")
    try:
        assert forward(saga_id) is LinkEnd.STOPPED
    except IntegrityError as refused:
        raise AssertionError(f"only the database refused it: {refused}") from refused
    assert row(saga_id).attempts == 0


def a_copy_comes_during_a_call(broker):
    saga_id = a_saga(broker)
    copies = []

    def meanwhile():
        if not copies:
            copies.append(None)
            copies[0] = forward(saga_id, swept=True)
        return "h1"

    trial.SCRIPT["hold"] = meanwhile
    assert forward(saga_id) is LinkEnd.PASSED, "a living worker was robbed of its saga"
    assert copies == [LinkEnd.STOPPED]


def a_copy_comes_before_the_delay_is_over(broker):
    trial.SCRIPT["take"] = raising(RuntimeError("down"))
    saga_id = a_saga(broker)
    forward(saga_id)
    assert forward(saga_id, swept=True) is LinkEnd.STOPPED
    assert trial.effects() == [], "it was tried again before its delay was over"


def a_forward_link_comes_during_the_compensation(broker):
    saga_id = a_saga(broker)
    cancel(saga_id, reason="no", by="alice")
    forward(saga_id, 4, 4, swept=True)
    assert trial.effects() == [], "a forward step ran during the compensation"


def a_link_comes_before_its_turn(broker):
    saga_id = a_saga(broker)
    forward(saga_id, 3, 4, swept=True)
    assert trial.effects() == [], "a link ran steps of another one"
    assert row(saga_id).attempts == 0


def canceled_in_the_pivot(broker):
    saga_id = a_saga(broker)
    answers = []

    def meanwhile():
        try:
            answers.append(cancel(saga_id, reason="no", by="alice"))
        except IntegrityError as refused:
            answers.append(refused)

    trial.SCRIPT["capture"] = meanwhile
    forward(saga_id)
    assert answers == [Cancellation.TOO_LATE], "only the database refused it"


def canceled_again_during_the_compensation(broker):
    saga_id = a_saga(broker)
    forward(saga_id, 1, 1)
    cancel(saga_id, reason="no", by="alice")
    undo(saga_id, 1, 4)
    before = row(saga_id)
    assert cancel(saga_id, reason="again", by="bob") is Cancellation.FINISHED
    after = row(saga_id)
    assert (after.cursor, after.failure) == (before.cursor, "no"), "it begins all over"


CLAIM = (store, "_CLAIM")

NEEDED = {
    "token in a step's commit": ([NO_TOKEN], parked_during_a_call),
    "token in a fault": (
        [(stops, "_FAULT", "AND fencing_token = %(token)s", "")],
        overtaken_in_a_call,
    ),
    "parked in the claim": ([(*CLAIM, "AND parked_at IS NULL", "")], a_copy_comes_while_parked),
    "lease in the claim": (
        [(*CLAIM, "AND (leased_until IS NULL OR leased_until <= clock_timestamp())", "")],
        a_copy_comes_during_a_call,
    ),
    "delay in the claim": (
        [(*CLAIM, "AND (not_before IS NULL OR not_before <= clock_timestamp())", "")],
        a_copy_comes_before_the_delay_is_over,
    ),
    "status in the claim": (
        [(*CLAIM, "AND status = %(status)s", "")],
        a_forward_link_comes_during_the_compensation,
    ),
    "cursor in the claim": (
        [(*CLAIM, "AND cursor BETWEEN %(low)s AND %(high)s", "")],
        a_link_comes_before_its_turn,
    ),
    "point of no return in the start of a compensation": (
        [(stops, "_COMPENSATE", "AND {may_turn}", "")],
        canceled_in_the_pivot,
    ),
    "status in the start of a compensation": (
        [(stops, "_COMPENSATE", "AND status = 'running'", "")],
        canceled_again_during_the_compensation,
    ),
    "the whole fence of a step's commit": (FENCE, canceled_during_a_call),
}


@pytest.mark.parametrize("name", NEEDED)
def test_with_its_guard_the_scenario_is_right(broker, name):
    _, scenario = NEEDED[name]

    scenario(broker)


ONE_COMMIT = {"token in a step's commit", "the whole fence of a step's commit"}
"""Over two databases the effect is committed before it: test_detached.py says what refuses it."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.colocated] if name in ONE_COMMIT else [])
        for name in NEEDED
    ],
)
def test_without_its_guard_the_scenario_goes_wrong(broker, without, name):
    guards, scenario = NEEDED[name]
    without(*guards)

    with pytest.raises(AssertionError):
        scenario(broker)


@pytest.mark.parametrize(
    "left", [NO_STATUS, NO_CURSOR, NO_TOKEN], ids=["status", "cursor", "token"]
)
def test_colocated_each_part_of_the_fence_alone_refuses_a_step_that_was_canceled(
    broker, without, left
):
    """Status, cursor and token all change with a cancel: any one of them is enough for it."""
    without(*[guard for guard in FENCE if guard is not left])

    canceled_during_a_call(broker)


def test_the_cursor_is_redundant_beside_the_barrier_when_a_step_runs_twice(
    broker, without, run_twice_under_one_claim
):
    without(NO_CURSOR)

    run_twice_under_one_claim(broker)


def test_the_barrier_is_redundant_beside_the_cursor_when_a_step_runs_twice(
    broker, without, run_twice_under_one_claim
):
    without(NO_BARRIER)

    run_twice_under_one_claim(broker)


@pytest.mark.colocated  # over two databases the barrier is another statement: test_detached.py
def test_without_cursor_and_barrier_a_step_takes_effect_twice(
    broker, without, run_twice_under_one_claim
):
    without(NO_CURSOR, NO_BARRIER)

    with pytest.raises(AssertionError, match="one step took effect twice"):
        run_twice_under_one_claim(broker)


@pytest.mark.colocated
def test_the_tombstone_is_redundant_beside_the_fence_while_colocated(broker, without_tombstones):
    without_tombstones()

    thawed_after_its_compensation(broker)


def test_the_fence_is_redundant_beside_the_tombstone_for_a_step_that_thaws(broker, without):
    without(*FENCE)

    thawed_after_its_compensation(broker)


def test_without_fence_and_tombstone_a_step_takes_effect_after_its_compensation(
    broker, without, without_tombstones
):
    without(*FENCE)
    without_tombstones()

    with pytest.raises(AssertionError, match="after it had been compensated"):
        thawed_after_its_compensation(broker)


def test_the_database_refuses_what_no_statement_of_the_engine_does(broker):
    """The constraint behind the guard: past the point of no return nothing is compensated."""
    saga_id = a_saga(broker)
    forward(saga_id, 1, 3)
    assert row(saga_id).past_return is True

    with pytest.raises(IntegrityError, match="sagas_saga_no_return"), connection.cursor() as cursor:
        cursor.execute("UPDATE sagas_saga SET status = 'compensating' WHERE id = %s", [saga_id])
