"""An operator's skip over two databases: one answer, and no step that is late takes effect."""

from datetime import timedelta

import pytest
from django.db import OperationalError, connection

from sagas.api import (
    Saga,
    Unknown,
    cancel,
    compensatable,
    park,
    pivot,
    resume,
    skip,
    start,
    transaction,
    uuid7,
)
from sagas.failpoints import FailpointHit
from sagas.models import StepRun
from sagas.orchestration import audited, registry, skipping
from tests.concurrency.sagas.test_detached import (  # noqa: F401 - detached is in force here too
    barrier,
    begun,
    detached,
    dying_once,
    forward,
    to_the_end,
    undo,
)
from tests.integration.sagas import trial
from tests.integration.sagas.conftest import row
from tests.integration.sagas.test_link_ends import raising
from tests.together import together


@pytest.fixture
def parked(broker):
    saga_id = begun(broker)
    park(saga_id, by="alice", reason="look")
    return saga_id


def pressed(saga_id):
    return skip(saga_id, by="bob", reason="by hand")


def go_on(saga_id):
    return resume(saga_id, by="carol", reason="all is well")


def test_nobody_lets_the_saga_go_on_between_the_two_commits_of_a_skip(parked, monkeypatch):
    close, met = skipping.close, []

    def impatient():
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '100ms'")
        return go_on(parked)

    def meanwhile(*args, **options):
        close(*args, **options)
        met.extend(together(impatient))

    monkeypatch.setattr(skipping, "close", meanwhile)

    assert pressed(parked) is True
    assert [type(each) for each in met] == [OperationalError]
    assert go_on(parked) is False
    assert to_the_end(parked) == "completed"
    assert trial.effects() == ["hold", "capture", "book"]


def test_a_skip_that_is_refused_has_closed_no_barrier(parked, monkeypatch):
    carry_out = skipping.carry_out

    def overtaken(*args, **options):
        together(lambda: go_on(parked))
        return carry_out(*args, **options)

    monkeypatch.setattr(skipping, "carry_out", overtaken)

    assert pressed(parked) is False
    assert barrier("orders", parked, 1) is None
    forward(parked)
    assert trial.effects() == ["take", "hold", "capture", "book"]


def test_a_step_whose_effect_is_recorded_is_not_skipped(broker, monkeypatch):
    """Colocated the journal refuses it; here only the barrier knows."""
    saga_id = begun(broker)
    dying_once(monkeypatch, "effect.committed", "take")
    forward(saga_id)
    park(saga_id, by="alice", reason="look")

    assert pressed(saga_id) is False
    assert (row(saga_id).cursor, row(saga_id).parked_at is None) == (1, False)
    go_on(saga_id)
    assert to_the_end(saga_id) == "completed"
    assert StepRun.objects.get(saga_id=saga_id, name="take").state == "done"


def dies_between(saga_id, monkeypatch):
    """Press skip in a process that dies when the context has committed and the engine has not."""
    hit = []

    def failpoint(name, at=""):
        if name == "act.before_commit" and not hit:
            hit.append(at)
            raise FailpointHit(name)

    with monkeypatch.context() as dying:
        dying.setattr(audited, "failpoint", failpoint)
        with pytest.raises(FailpointHit):
            pressed(saga_id)


def test_a_skip_that_dies_between_its_two_commits_can_be_pressed_again(parked, monkeypatch):
    dies_between(parked, monkeypatch)
    assert (barrier("orders", parked, 1), row(parked).cursor) == ("skipped", 1)

    assert pressed(parked) is True
    assert to_the_end(parked) == "completed"
    assert trial.effects() == ["hold", "capture", "book"]


def by_hand(saga_id):
    cancel(saga_id, reason="no", by="alice")
    while row(saga_id).finished_at is None:
        assert park(saga_id, by="alice", reason="look")
        assert pressed(saga_id)


def test_what_a_person_has_undone_is_not_done_by_a_worker_that_is_late(broker):
    """A skip on the way back closes the door as the undo does that it stands for."""
    saga_id = begun(broker)
    trial.SCRIPT["record_hold"] = lambda: together(lambda: by_hand(saga_id))
    forward(saga_id)

    assert row(saga_id).status == "compensated"
    assert trial.effects() == ["take"]
    assert barrier("payments", saga_id, 2) == "abandoned"


def test_an_undo_that_is_late_is_not_recorded_after_a_person_has_undone_the_step(broker):
    saga_id = begun(broker)
    forward(saga_id, high=2)
    cancel(saga_id, reason="no", by="alice")
    trial.SCRIPT["release"] = lambda: together(lambda: by_hand(saga_id))
    undo(saga_id)

    assert row(saga_id).status == "compensated"
    assert "release" not in trial.effects()
    assert barrier("payments", saga_id, 2, "undo") == "skipped"


CALLING = Saga(
    name="orders.skippable_call",
    version=1,
    state=trial.TrialState,
    deadline=timedelta(minutes=5),
    steps=(
        compensatable("hold", do=trial.build_hold, undo=trial.build_release, skippable=True),
        pivot("book", do=trial.build_book),
    ),
)


@pytest.fixture
def called(broker, monkeypatch):
    """A parked saga whose call had no answer."""
    monkeypatch.setitem(registry.SAGAS, (CALLING.name, 1), CALLING)
    saga_id = uuid7()
    with transaction("orders"):
        start(CALLING, trial.TrialState(subject=saga_id), key=str(saga_id), saga_id=saga_id)
    broker.take()
    trial.SCRIPT["hold"] = raising(Unknown("no answer"))
    forward(saga_id, 0, 1)
    del trial.SCRIPT["hold"]
    park(saga_id, by="alice", reason="look")
    return saga_id


def test_a_call_whose_skip_died_between_its_two_commits_is_passed_over_on_a_resume(
    called, monkeypatch
):
    dies_between(called, monkeypatch)
    assert (barrier("payments", called, 0), row(called).cursor) == ("abandoned", 0)

    assert go_on(called) is True
    forward(called, 0, 1)
    assert row(called).status == "completed"
    assert trial.effects() == ["book"]
    assert StepRun.objects.get(saga_id=called, name="hold").state == "skipped"


def test_a_call_whose_skip_died_between_its_two_commits_is_undone_by_a_cancel(called, monkeypatch):
    dies_between(called, monkeypatch)

    cancel(called, reason="no", by="alice")
    undo(called, 0, 1)
    assert row(called).status == "compensated"
    assert trial.effects() == ["release"]
