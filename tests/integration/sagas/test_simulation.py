"""Every placement of one fault over every saga of the project, and proof that a wrong end shows."""

import logging

import pytest

from sagas.core.definition import Kind, Saga
from sagas.orchestration import compensation, registry
from sagas.simulation import stage as stage_of_rehearsals
from sagas.simulation.grid import every_placement, schedules, table, told
from sagas.simulation.judging import rehearse
from sagas.simulation.participants import make_table
from sagas.simulation.placements import placements
from sagas.simulation.understudy import understudy
from tests.integration.sagas import fan, trial, waiting

OF_THE_TESTS = [
    saga for module in (fan, waiting) for saga in vars(module).values() if isinstance(saga, Saga)
]
OF_THE_PROJECT = [
    saga
    for saga in registry.SAGAS.values()
    if not any(each is saga for each in (trial.TRIAL, *OF_THE_TESTS))
]


pytestmark = pytest.mark.colocated


@pytest.fixture(autouse=True)
def stage(committed_db):
    make_table()
    logging.disable(logging.INFO)
    yield
    logging.disable(logging.NOTSET)
    for key in [key for key in registry.SAGAS if ".rehearsed_" in key[0]]:
        del registry.SAGAS[key]


def wrong(verdicts):
    return {told(verdict.placements): verdict.wrong for verdict in verdicts if verdict.wrong}


@pytest.mark.parametrize(
    "saga",
    [
        *OF_THE_PROJECT,
        *(pytest.param(saga, marks=pytest.mark.long) for saga in OF_THE_TESTS),
    ],
    ids=lambda saga: f"{saga.name}-{saga.version}",
)
def test_every_fault_at_every_step_of_a_saga_ends_as_it_must(saga):
    verdicts = list(every_placement(saga))

    assert wrong(verdicts) == {}
    rows = {verdict.placements[0].row for verdict in verdicts}
    assert {step.name for step in saga.steps if step.kind is not Kind.BEGUN} <= rows


def test_groups_conditions_waits_and_children_are_rehearsed_as_well():
    verdicts = [
        rehearse(play, placed)
        for saga in (fan.FAN, waiting.REVERSIBLE, waiting.PARENT)
        for play in [understudy(saga)]
        for placed in placements(play)
        if placed.column in {"late", "skipped", "silent", "no"}
    ]

    assert wrong(verdicts) == {}
    assert {verdict.placements[0].column for verdict in verdicts} == {
        "late",
        "skipped",
        "silent",
        "no",
    }


def test_two_and_three_faults_at_once_end_right(committed_db):
    verdicts = list(schedules(trial.TRIAL, count=40, seed=7))

    assert wrong(verdicts) == {}
    assert {verdict.end for verdict in verdicts} == {"completed", "compensated"}


def test_a_seed_chooses_the_same_faults_again(committed_db):
    once, again = (
        [told(verdict.placements) for verdict in schedules(trial.TRIAL, count=3, seed=5)]
        for _ in range(2)
    )

    assert once == again


def test_a_compensation_that_undoes_what_never_was_is_seen(monkeypatch):
    monkeypatch.setattr(compensation, "_has_effect", lambda _: True)
    play = understudy(trial.TRIAL)
    refused = next(placed for placed in placements(play) if placed.name == "take no")

    verdict = rehearse(play, refused)

    assert verdict.wrong == ("take was done 0 times and undone 1 times",)
    assert "!" in table([verdict])


def test_a_saga_that_nobody_sweeps_is_seen(monkeypatch):
    monkeypatch.setattr(stage_of_rehearsals, "sweep", lambda: 0)
    play = understudy(trial.TRIAL)
    killed = next(p for p in placements(play) if p.name == "take killed step.before_commit")

    verdict = rehearse(play, killed)

    assert verdict.end == "restless"
    assert verdict.wrong == ("running at step 1 after 60 sweeps",)
