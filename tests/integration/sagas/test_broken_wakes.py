"""What must hold of wake-ups when a row is held for a moment by somebody who changes nothing."""

import threading
from contextlib import contextmanager

import pytest
from django.db import connections

from sagas.api import Signaled, signal, transaction
from sagas.models import SagaInstance
from sagas.orchestration import donekeys
from tests.integration.sagas import trial, waiting
from tests.integration.sagas.conftest import row
from tests.integration.sagas.test_batches import (
    claim_all,
    forward,
    shared,  # noqa: F401 - a fixture
    statuses,
)
from tests.integration.sagas.waiting import Approved, Go
from tests.together import PATIENCE


@pytest.fixture(autouse=True)
def waiting_sagas(trial_saga):
    waiting.register()


@contextmanager
def signaling(saga_id):
    """A webhook's transaction that has signaled early, and commits when the block ends."""
    signaled, over = threading.Event(), threading.Event()
    heard = []

    def run():
        try:
            with transaction("orders"):
                heard.append(signal(saga_id, "approve", Approved(by="bob"), key="1"))
                signaled.set()
                over.wait(PATIENCE)
        finally:
            signaled.set()
            connections.close_all()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert signaled.wait(PATIENCE)
    try:
        yield heard
    finally:
        over.set()
        thread.join(PATIENCE)


def test_a_saga_that_is_signaled_early_while_its_message_is_taken_up_needs_no_sweeper(shared):  # noqa: F811
    ids = [waiting.begin() for _ in range(2)]
    [message] = shared.take()  # the second one relies on it
    with signaling(ids[1]) as heard:
        shared.run_chain(message)
        shared.drain()
    shared.drain()  # whatever was sent by the end of the transaction

    assert heard == [Signaled.KEPT]
    assert row(ids[0]).waiting_for == "signal:approve"
    # No fault, nobody died, no message is left: it must not be the sweeper who finds it.
    assert row(ids[1]).status == "completed"


def test_a_saga_that_is_signaled_early_while_its_batch_gives_it_back_is_not_left_leased(
    shared,  # noqa: F811
    settings,
):
    settings.SAGAS = {**settings.SAGAS, "TIME_SLICE": 0.0}
    ids = [waiting.begin() for _ in range(2)]
    [message] = shared.take()
    holding = []

    def take():
        if not holding:
            holding.append(signaling(ids[1]))
            holding[0].__enter__()

    trial.SCRIPT["take"] = take
    shared.run_chain(message)  # the slice is spent: the second one is given back unbegun
    holding[0].__exit__(None, None, None)
    settings.SAGAS = {**settings.SAGAS, "TIME_SLICE": 1.0}
    shared.drain()

    saga = row(ids[1])
    # No fault and nobody died: it must not wait for the end of a lease that nobody uses.
    assert (saga.status, saga.leased_until) == ("completed", None)


@pytest.mark.parametrize("most", [1, 2, 20])
def test_a_message_whose_saga_another_has_leaves_nobody_who_relied_on_it_to_the_sweeper(
    shared,  # noqa: F811
    settings,
    most,
):
    """As the batch that is full does: who finds more than it may take has to ring for the rest."""
    settings.SAGAS = {**settings.SAGAS, "CLAIM_BATCH": most}
    own = trial.begin()
    assert claim_all(None, most=1) != []  # rung for by a full batch, taken along by another one
    late = [trial.begin() for _ in range(most + 2)]
    assert len(shared.take()) == 1, "the unread message stands for all of them"

    forward(own)
    shared.drain(200)
    assert statuses(late) == ["completed"] * len(late)


@pytest.mark.parametrize("grace", [2.0, 0.3])
def test_parents_whose_children_have_ended_share_a_message_whatever_the_grace_is(
    shared,  # noqa: F811
    settings,
    grace,
):
    settings.SAGAS = {**settings.SAGAS, "HINT_GRACE": grace}
    parents = [waiting.begin_parent() for _ in range(2)]
    shared.drain()
    children = [SagaInstance.objects.get(parent_id=parent).id for parent in parents]
    donekeys.client().flushdb()
    for child in children:
        assert signal(child, "go", Go(), key="1") is Signaled.DELIVERED
    shared.drain()

    # Their children have ended; nobody failed, no message is left.
    assert statuses(children) == ["completed"] * 2
    assert [row(parent).waiting_for for parent in parents] == ["signal:approve"] * 2
