"""A new version takes a share of the starts, by business key; one edit turns it round."""

from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from sagas.api import Saga, chosen, retriable, start, transaction, uuid7
from sagas.models import OperatorAction, Rollout, SagaInstance
from sagas.orchestration import registry, rollout
from tests.integration.admin.world import audit, signed_in
from tests.integration.sagas import trial
from tests.integration.sagas.conftest import row
from tests.integration.sagas.test_versions import SECOND, steps_of
from tests.integration.sagas.watching import bring_to_its_end

FIRST = trial.TRIAL
KEYS = [f"order-{number}" for number in range(40)]


@pytest.fixture
def two(broker, monkeypatch):
    """Both versions are registered; migrate has written the row of the second."""
    monkeypatch.setitem(registry.SAGAS, (SECOND.name, 2), SECOND)
    rollout.ensure("default")


def share(percent):
    assert Rollout.objects.filter(name=SECOND.name, version=2).update(percent=percent) == 1


def begin(key):
    with transaction("orders"):
        return start(SECOND, trial.TrialState(subject=uuid7()), key=key)


def second_versions():
    return {key for key in KEYS if chosen(SECOND, key) is SECOND}


@pytest.mark.parametrize(("percent", "newer"), [(0, 0), (50, 21)])
def test_a_version_takes_its_share_of_the_starts(two, percent, newer):
    share(percent)

    began = [row(begin(key)).def_version for key in KEYS]

    assert (began.count(1), began.count(2)) == (40 - newer, newer)
    assert {key for key, version in zip(KEYS, began, strict=True) if version == 2} == (
        second_versions()
    )


def test_whoever_is_among_the_first_percent_is_among_the_first_ten(two):
    seen = []
    for percent in (1, 10, 50, 100):
        share(percent)
        seen.append(second_versions())

    assert all(fewer <= more for fewer, more in pairwise(seen))
    assert seen[-1] == set(KEYS)


def test_after_the_way_back_what_lives_ends_on_its_version_and_the_rest_begins_on_the_first(
    two, broker
):
    newer = begin("a")
    share(0)
    older = begin("b")

    assert (row(newer).def_version, row(older).def_version) == (2, 1)
    assert bring_to_its_end(broker, newer) == bring_to_its_end(broker, older) == "completed"
    assert steps_of(newer) == [step.name for step in SECOND.steps]
    assert steps_of(older) == [step.name for step in FIRST.steps]


def test_a_second_start_under_a_key_is_the_first_whatever_the_share_is(two):
    first = begin("a")
    share(0)

    assert begin("a") == first
    assert SagaInstance.objects.count() == 1


def test_the_definition_says_the_share_until_an_operator_does(broker, monkeypatch):
    canary = replace(SECOND, share=0)
    monkeypatch.setitem(registry.SAGAS, (SECOND.name, 2), canary)

    assert chosen(canary, "a") is FIRST, "no row yet"
    rollout.ensure("default")
    assert Rollout.objects.get().percent == 0
    share(100)
    rollout.ensure("default")
    assert chosen(canary, "a") is canary
    assert canary.fingerprint == SECOND.fingerprint


def test_of_three_versions_each_takes_its_share_of_what_the_later_one_leaves(two, monkeypatch):
    third = replace(SECOND, version=3, share=0)
    monkeypatch.setitem(registry.SAGAS, (SECOND.name, 3), third)

    assert chosen(third, "a") is SECOND
    share(0)
    assert chosen(third, "a") is FIRST


def test_a_start_of_the_first_version_is_asked_for_and_so_it_runs(two):
    with transaction("orders"):
        began = start(FIRST, trial.TrialState(subject=uuid7()), key="a")

    assert row(began).def_version == 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Wider:
    """A state to which no builder of the first version fits."""

    subject: UUID


def book_wider(state: Wider) -> trial.Book:
    return trial.build_book(trial.TrialState(subject=state.subject))


def wider(version, share):
    """A version whose state fits no version of ``TrialState``."""
    return Saga(
        name=FIRST.name,
        version=version,
        state=Wider,
        deadline=FIRST.deadline,
        steps=(retriable("book", do=book_wider),),
        share=share,
    )


def test_where_the_states_differ_the_caller_chooses_before_it_builds_one(broker, monkeypatch):
    other = wider(2, 0)
    monkeypatch.setitem(registry.SAGAS, (SECOND.name, 2), other)

    assert chosen(other, "a") is FIRST
    assert rollout.to_start(other, "a") is other, "its state fits no other version"


def versions_of(saga, monkeypatch, *others):
    for each in (saga, *others):
        monkeypatch.setitem(registry.SAGAS, (each.name, each.version), each)
    return Counter(rollout.to_start(saga, f"order-{number}").version for number in range(1000))


def test_who_falls_to_a_version_that_does_not_fit_gets_the_oldest_that_does(broker, monkeypatch):
    """It was the newest: a canary at one percent took half of the starts."""
    assert versions_of(wider(3, 1), monkeypatch, wider(2, 50)) == {2: 991, 3: 9}


def test_a_version_that_does_not_fit_is_stepped_over(broker, monkeypatch):
    fourth, third = replace(SECOND, version=4, share=1), wider(3, 100)

    assert versions_of(fourth, monkeypatch, third, replace(SECOND, share=100)) == {2: 991, 4: 9}
    assert chosen(fourth, "order-0") is third


def test_where_there_is_one_version_nobody_asks(broker):
    with CaptureQueriesContext(connection) as asked:
        trial.begin()

    assert [query for query in asked.captured_queries if "rollout" in (query["sql"] or "")] == []
    rollout.ensure("default")
    assert Rollout.objects.count() == 0


def test_a_database_that_is_not_the_engines_gets_no_rows(two, monkeypatch):
    Rollout.objects.all().delete()
    monkeypatch.setattr(rollout, "alias_of", lambda _: "elsewhere")

    rollout.ensure("default")

    assert Rollout.objects.count() == 0


# -- the edit --------------------------------------------------------------------------------------


def edit(role, **fields):
    page = reverse("admin:sagas_rollout_change", args=[Rollout.objects.get().pk])
    return signed_in(role).post(page, fields)


def test_an_administrator_turns_a_release_round_with_one_edit_that_says_why(two):
    begin("a")
    page = reverse("admin:sagas_rollout_changelist")
    assert b"what lives ends on its version" in signed_in("administrator").get(page).content

    response = edit("administrator", percent="0", reason="it declines good cards")

    assert response.status_code == 302
    assert row(begin("b")).def_version == 1
    [act] = OperatorAction.objects.all()
    assert (act.action, act.reason) == ("edit", "it declines good cards (percent from 100 to 0)")


@pytest.mark.parametrize(
    ("role", "fields"),
    [
        ("operator", {"percent": "0", "reason": "x"}),
        ("viewer", {"percent": "0", "reason": "x"}),
        ("administrator", {"percent": "0"}),
        ("administrator", {"percent": "101", "reason": "x"}),
        ("administrator", {"percent": "-1", "reason": "x"}),
    ],
)
def test_without_the_right_a_reason_or_a_share_nothing_changes(two, role, fields):
    edit(role, **fields)

    assert (Rollout.objects.get().percent, audit()) == (100, [])


@pytest.mark.parametrize("newer", [True, False], ids=["the newer has begun", "the older has begun"])
def test_a_step_that_its_starter_has_done_is_in_the_version_that_runs(broker, monkeypatch, newer):
    """Of the other one the engine would do it again, or rely on what nobody did."""
    whole = replace(FIRST, name="orders.errand", steps=FIRST.steps[1:])
    opened = replace(whole, steps=FIRST.steps)
    older, later = (whole, opened) if newer else (opened, whole)
    later = replace(later, version=2, share=0)
    for saga in (older, later):
        monkeypatch.setitem(registry.SAGAS, (saga.name, saga.version), saga)

    with transaction("orders"):
        began = start(later, trial.TrialState(subject=uuid7()), key="a")

    assert (row(began).def_version, row(began).cursor) == (2, int(newer))
    assert chosen(later, "a") is older, "who asks is told, and does as much as it needs"
