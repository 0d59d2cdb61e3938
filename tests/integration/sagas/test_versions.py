"""Two versions side by side, and releases that do not have what lives."""

import io
import json
import logging
from dataclasses import replace
from datetime import timedelta

import pytest
from django.core.checks import Tags, run_checks
from django.core.management import CommandError, call_command
from django.db import OperationalError, ProgrammingError

from sagas.api import (
    Cancellation,
    Rejected,
    Saga,
    Signaled,
    cancel,
    compensatable,
    current_run,
    park,
    retriable,
    signal,
    skip,
    start,
    transaction,
    uuid7,
)
from sagas.conf import conf
from sagas.core.keys import Direction
from sagas.models import SagaInstance, StepFault, StepRun
from sagas.orchestration import executor, registry, store, versions
from sagas.orchestration.sweep import continue_saga, sweep
from tests.integration.sagas import fan, trial, waiting
from tests.integration.sagas.conftest import make_due, row
from tests.integration.sagas.test_commands import said
from tests.integration.sagas.test_link_ends import raising
from tests.integration.sagas.test_sweep import SLOW, seconds_ahead
from tests.integration.sagas.watching import make_branches_due, shown

SECOND = Saga(
    name=trial.TRIAL.name,
    version=2,
    state=trial.TrialState,
    deadline=trial.TRIAL.deadline,
    steps=(
        trial.TRIAL.steps[0],
        compensatable("take_more", do=trial.build_take, undo=trial.build_put_back),
        retriable("book", do=trial.build_book),
    ),
)
OTHER_FIRST = Saga(
    name=trial.TRIAL.name,
    version=1,
    state=trial.TrialState,
    deadline=trial.TRIAL.deadline,
    steps=(*trial.TRIAL.steps[:2], *trial.TRIAL.steps[3:]),
)


def release(monkeypatch, *definitions):
    """From here on the code has these definitions and no others."""
    monkeypatch.setattr(registry, "SAGAS", {(d.name, d.version): d for d in definitions})


def begin_second():
    with transaction("orders"):
        return start(SECOND, trial.TrialState(subject=uuid7()), key=str(uuid7()))


def steps_of(saga_id, direction="do"):
    runs = StepRun.objects.filter(saga_id=saga_id, direction=direction).order_by("id")
    return list(runs.values_list("name", flat=True))


def test_an_instance_keeps_the_fingerprint_it_began_with(broker):
    assert row(trial.begin()).fingerprint == trial.TRIAL.fingerprint


def test_two_versions_in_flight_end_each_on_its_own_steps(broker, monkeypatch):
    release(monkeypatch, trial.TRIAL, SECOND)
    first, second, third = trial.begin(), begin_second(), begin_second()
    down = {first, second}

    def take():
        if current_run().saga_id == third:
            raise Rejected("sold_out")
        if current_run().saga_id in down:
            raise RuntimeError("down")

    trial.SCRIPT["take"] = take
    broker.drain()
    down.clear()
    assert {row(saga).attempts for saga in (first, second)} == {1}
    assert row(third).status == "compensated"
    for saga_id in (second, first):
        make_due(saga_id)
    sweep()
    broker.drain()

    assert {row(saga).status for saga in (first, second)} == {"completed"}
    assert steps_of(first) == ["open", "take", "hold", "capture", "book"]
    assert steps_of(second) == ["open", "take_more", "book"]
    assert steps_of(third, "undo") == ["book", "take_more", "open"]


# -- a release that does not have it ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("definitions", "words"),
    [
        ([], "orders.trial version 1 is not defined here"),
        (
            [OTHER_FIRST],
            "orders.trial version 1 is another one here: what was step 3 is gone",
        ),
    ],
    ids=["unknown", "changed"],
)
def test_a_release_without_the_definition_leaves_the_saga_without_an_attempt(
    broker, monkeypatch, caplog, definitions, words
):
    saga_id = trial.begin()
    with monkeypatch.context() as old_release, caplog.at_level(logging.WARNING):
        release(old_release, *definitions)
        messages = broker.take()
        assert [broker.run_chain(message) for message in messages] == ["ignored"]
    after = row(saga_id)

    assert (after.status, after.attempts, after.parked_at) == ("running", 0, None)
    assert (after.leased_until, after.due_at) == (None, after.not_before)
    assert 0 < seconds_ahead(after.due_at) <= conf.HINT_GRACE
    assert not StepFault.objects.exists()
    assert trial.effects() == []
    warned = [record for record in caplog.records if record.message == "saga_unknown"]
    assert [(record.saga_id, record.error) for record in warned] == [(str(saga_id), words)]
    make_due(saga_id)
    sweep()
    broker.drain()
    assert row(saga_id).status == "completed"


def test_it_may_be_left_more_often_than_attempts_are_allowed(broker, monkeypatch):
    saga_id = trial.begin()
    waits = []
    with monkeypatch.context() as old_release:
        release(old_release, OTHER_FIRST)
        for _ in range(int(conf.MAX_ATTEMPTS) + 3):
            make_due(saga_id)
            sweep()
            broker.drain()
            waits.append(seconds_ahead(row(saga_id).due_at))
    after = row(saga_id)
    assert (after.attempts, after.parked_at) == (0, None)
    assert waits[0] == pytest.approx(conf.HINT_GRACE * 1.7, abs=SLOW)
    assert waits[-1] == pytest.approx(conf.HINT_CAP, abs=SLOW)

    make_due(saga_id)
    sweep()
    broker.drain()
    assert row(saga_id).status == "completed"


def test_attempts_of_those_who_know_it_are_kept(broker, monkeypatch):
    trial.SCRIPT["take"] = raising(RuntimeError("down"))
    saga_id = trial.begin()
    broker.drain()
    with monkeypatch.context() as old_release:
        make_due(saga_id)
        sweep()
        release(old_release)
        broker.drain()

    assert row(saga_id).attempts == 1


def test_an_error_callback_of_an_unknown_saga_sends_nothing(broker, monkeypatch):
    saga_id = trial.begin()
    release(monkeypatch)

    assert continue_saga(saga_id) is False


def test_a_cancel_by_a_release_without_the_definition_is_kept_for_the_others(broker, monkeypatch):
    saga_id = trial.begin()
    broker.take()
    with monkeypatch.context() as old_release:
        release(old_release)
        cancel(saga_id, reason="no", by="alice")
    make_due(saga_id)
    sweep()
    broker.drain()

    assert row(saga_id).status == "compensated"


def test_a_changed_definition_runs_when_the_check_is_silenced(broker, monkeypatch, settings):
    settings.SILENCED_SYSTEM_CHECKS = [versions.CHANGED]
    saga_id = trial.begin()
    SagaInstance.objects.filter(id=saga_id).update(fingerprint="0:1:2:3")
    broker.drain()

    assert row(saga_id).status == "completed"


def test_an_instance_from_before_fingerprints_runs(broker):
    saga_id = trial.begin()
    SagaInstance.objects.filter(id=saga_id).update(fingerprint="")
    broker.drain()

    assert row(saga_id).status == "completed"


# -- refused at start ------------------------------------------------------------------------------


def checked():
    return [(each.id, each.msg) for each in run_checks(tags=[Tags.database], databases=["default"])]


def test_nothing_is_refused_when_nothing_lives(broker, monkeypatch):
    trial.begin()
    broker.drain()
    release(monkeypatch, OTHER_FIRST)

    versions.refuse_unfit()
    assert checked() == []


def test_nothing_is_refused_when_what_lives_is_what_is_defined(broker):
    trial.begin()

    versions.refuse_unfit()
    assert checked() == []


def test_a_definition_changed_under_living_instances_is_refused_with_step_and_remedy(
    broker, monkeypatch
):
    saga_id = trial.begin()
    since = f"{row(saga_id).started_at:%Y-%m-%d %H:%M} UTC"
    release(monkeypatch, OTHER_FIRST, SECOND)
    message = (
        "orders.trial version 1 was changed while one instance of it lives (the oldest since"
        f" {since}): what was step 3 is gone"
    )

    assert checked() == [("sagas.E010", message)]
    with pytest.raises(versions.UnfitDefinition) as refused:
        versions.refuse_unfit(but=(versions.UNKNOWN,))
    assert str(refused.value) == (
        f"{message}\n    Call what it is now version 3, and keep version 1 registered as it was"
        " until its instances have ended (`manage.py sagas definitions` counts them)."
    )


def test_a_definition_taken_away_under_living_instances_is_refused_to_workers(
    broker, monkeypatch, settings
):
    trial.begin()
    trial.begin()
    release(monkeypatch, SECOND)

    [(number, message)] = checked()
    assert number == "sagas.E011"
    assert message.startswith("orders.trial version 1 is not defined here while 2 of it live")
    with pytest.raises(versions.UnfitDefinition, match="Keep its definition registered"):
        versions.refuse_unfit()
    versions.refuse_unfit(but=(versions.UNKNOWN,))
    settings.SILENCED_SYSTEM_CHECKS = [versions.UNKNOWN]
    versions.refuse_unfit()


def test_the_check_is_only_made_where_a_database_is_named(broker, monkeypatch, settings):
    settings.SAGAS = {**settings.SAGAS, "STEP_TIMEOUT": settings.SAGAS["HARD_LIMIT"] - 0.5}
    trial.begin()
    release(monkeypatch)

    call_command("check", verbosity=0)
    with pytest.raises(CommandError, match="not defined here"):
        call_command("check", databases=["default"], stderr=io.StringIO())


@pytest.mark.parametrize("error", [OperationalError("away"), ProgrammingError("no such table")])
def test_a_database_that_cannot_be_asked_refuses_nothing(monkeypatch, caplog, error):
    def standings():
        raise error

    monkeypatch.setattr(versions, "standings", standings)

    assert checked() == []
    versions.refuse_unfit()
    assert [record.message for record in caplog.records] == ["definitions_unchecked"]


# -- for operators ---------------------------------------------------------------------------------


def told(*words):
    out = io.StringIO()
    try:
        call_command("sagas", "definitions", *words, stdout=out)
    except SystemExit as exited:
        return out.getvalue(), exited.code
    return out.getvalue(), 0


def test_definitions_are_listed_with_what_lives_of_them(broker, monkeypatch):
    release(monkeypatch, trial.TRIAL, SECOND)
    saga_id = trial.begin()
    text, code = told("--json")

    assert (json.loads(text), code) == (
        {
            "definitions": [
                {
                    "name": "orders.trial",
                    "version": 1,
                    "fingerprint": trial.TRIAL.fingerprint,
                    "living": 1,
                    "oldest": str(row(saga_id).started_at),
                    "fit": "fits",
                    "differs": "",
                },
                {
                    "name": "orders.trial",
                    "version": 2,
                    "fingerprint": SECOND.fingerprint,
                    "living": 0,
                    "oldest": None,
                    "fit": "fits",
                    "differs": "",
                },
            ]
        },
        0,
    )


def test_what_does_not_fit_is_said_and_the_code_is_one(broker, monkeypatch):
    release(monkeypatch, trial.TRIAL, SECOND)
    trial.begin()
    begin_second()
    release(monkeypatch, OTHER_FIRST)
    whole = [each.fingerprint[:16] for each in (trial.TRIAL, SECOND)]

    changed = "1 living  changed since they began: what was step 3 is gone"
    gone = "1 living  not defined here"
    lines = (
        f"orders.trial version 1  {whole[0]}  {changed}\n"
        f"orders.trial version 2  {whole[1]}  {gone}\n"
    )
    assert told() == (lines, 1)
    SagaInstance.objects.all().delete()
    release(monkeypatch)
    assert told() == ("no definition is registered\n", 0)


SHORTER = replace(trial.TRIAL, steps=trial.TRIAL.steps[:2])


def halfway(broker):
    """A parked saga that stands where a shorter definition has no step."""
    saga_id = trial.begin()
    broker.take()
    SagaInstance.objects.filter(id=saga_id).update(cursor=3)
    park(saga_id, by="alice", reason="look")
    return saga_id


def test_a_skip_by_a_release_whose_definition_is_another_one_is_refused(broker, monkeypatch):
    """Else a shorter one completes a saga with nothing held, captured or booked."""
    saga_id = trial.begin()
    broker.take()
    park(saga_id, by="alice", reason="look")
    release(monkeypatch, SHORTER)

    assert skip(saga_id, by="bob", reason="by hand") is False
    assert (row(saga_id).status, row(saga_id).cursor) == ("running", 1)


@pytest.mark.parametrize("silenced", [[], [versions.CHANGED]], ids=["checked", "silenced"])
def test_sagas_that_do_not_fit_do_not_stop_the_sweep(broker, monkeypatch, settings, silenced):
    """Even where the check is silenced: a saga may stand past the end of a shorter definition."""
    settings.SILENCED_SYSTEM_CHECKS = silenced
    old = halfway(broker)
    assert cancel(old, reason="no", by="alice") is Cancellation.ACCEPTED
    release(monkeypatch, SHORTER, SECOND)
    other = begin_second()
    broker.take()
    make_due(other)
    make_due(old)
    SagaInstance.objects.filter(id=old).update(due_at=row(old).started_at - timedelta(days=1))

    assert sweep() == 2
    assert [message.args[0] for message in broker.take()] == [str(other)]


def test_branches_that_do_not_fit_are_left_to_others(broker, group, monkeypatch):
    release(monkeypatch, replace(fan.FAN, steps=fan.FAN.steps[:2]))
    make_branches_due(group)

    assert sweep() == 0
    assert continue_saga(group) is False
    assert broker.take() == []


def test_a_cancel_by_a_release_whose_definition_is_another_one_rings_for_nobody(
    broker, monkeypatch
):
    saga_id = trial.begin()
    broker.take()
    release(monkeypatch, SHORTER)

    assert cancel(saga_id, reason="no", by="alice") is Cancellation.ACCEPTED
    assert broker.take() == []


def test_a_signal_by_a_release_whose_definition_is_another_one_is_refused(broker, monkeypatch):
    """Else it may be told that it comes too late, and the saga that waits sleeps on."""
    waiting.register()
    saga_id = waiting.begin()
    broker.drain()
    first, second, third = waiting.LISTENING.steps
    with monkeypatch.context() as other:
        release(other, replace(waiting.LISTENING, steps=(second, first, third)))
        with pytest.raises(registry.UnknownSaga, match="is another one here"):
            signal(saga_id, "approve", waiting.Approved(by="alice"), key="k")

    told = signal(saga_id, "approve", waiting.Approved(by="alice"), key="k")
    assert told is Signaled.DELIVERED


def test_a_batch_of_a_definition_that_is_too_short_takes_nobody_along(broker, monkeypatch):
    saga_id = trial.begin()
    [message] = broker.take()
    behind = trial.begin()
    broker.take()
    release(monkeypatch, SHORTER)
    broker.run_chain(message)

    assert (row(saga_id).attempts, row(behind).fencing_token) == (0, 0)


def test_a_saga_that_is_given_back_unbegun_and_does_not_fit_is_rung_for_by_nobody(
    broker, monkeypatch
):
    saga_id = trial.begin()
    broker.take()
    claimed = store.claim(saga_id, status="running", low=1, high=4)
    release(monkeypatch, SHORTER)
    executor.Carried(claimed, 1, 4, Direction.DO).send()

    assert broker.take() == []


def test_what_an_operator_asks_of_a_saga_whose_definition_became_shorter_is_answered(
    broker, monkeypatch
):
    saga_id = halfway(broker)
    release(monkeypatch, SHORTER)
    unknown = "no release that runs here knows its definition"

    skipped = said("skip", saga_id, *shown(saga_id), "--reason", "by hand")
    assert skipped == (f"skip: refused, {unknown}\n", 1)
    text, code = said("show", saga_id)
    assert (f"skip: {unknown}" in text, code) == (True, 0)
