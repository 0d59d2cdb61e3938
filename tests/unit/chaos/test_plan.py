import json
import subprocess
import sys

import pytest
from django.conf import settings

from config.chaos.catalog import BY_ID, ENOUGH, FAULTS, TIMES
from config.chaos.injections import INJECT
from config.chaos.places import ways_by_fault
from config.chaos.plan import expand
from sagas.failpoints import parse
from tests.processes import ROOT

WAYS = ways_by_fault(settings.CONTEXTS)


def a_plan(seed=7, seconds=600.0, faults=FAULTS, **other):
    terms = {"mode": "safety", "clients": 8, "lease": 5.0, "ways": WAYS} | other
    return expand(seed=seed, seconds=seconds, faults=faults, **terms)


def test_the_same_seed_gives_the_same_plan():
    assert a_plan() == a_plan()
    assert a_plan().digest == a_plan().digest
    assert a_plan().lines() == a_plan().lines()


@pytest.mark.parametrize("other", [{"seed": 8}, {"seconds": 601.0}, {"mode": "liveness"}])
def test_another_seed_time_or_mode_gives_another_plan(other):
    assert a_plan(**other).digest != a_plan().digest


def test_every_fault_that_is_chosen_is_planned_often_enough():
    plan = a_plan()

    assert plan.left_out == ()
    assert {each.fault for each in plan.injections} == BY_ID.keys()
    assert min(len(plan.of(fault.id)) for fault in FAULTS) >= TIMES > ENOUGH


def test_in_a_short_time_fewer_faults_are_planned_and_the_others_are_named():
    plan = a_plan(seconds=30.0)
    planned = {each.fault for each in plan.injections}

    assert planned
    assert planned | set(plan.left_out) == BY_ID.keys()
    assert planned & set(plan.left_out) == set()
    assert min(len(plan.of(fault)) for fault in planned) >= TIMES
    assert ", ".join(plan.left_out) in plan.lines()[-1]


def test_a_lane_does_one_thing_after_the_other_and_within_the_time():
    plan = a_plan()
    for lane in {each.lane for each in plan.injections}:
        own = [each for each in plan.injections if each.lane == lane]
        ends = [
            each.at + BY_ID[each.fault].seconds + 5.0 * BY_ID[each.fault].leases for each in own
        ]
        assert all(end <= after.at + 0.11 for end, after in zip(ends, own[1:], strict=False))
        assert ends[-1] <= plan.seconds


def test_what_one_lane_does_moves_nothing_in_another():
    every = a_plan()
    less = a_plan(faults=[fault for fault in FAULTS if fault.lane != "servers"])

    assert list(less.injections) == [each for each in every.injections if each.lane != "servers"]


def test_every_manner_of_a_fault_comes_round():
    beat = BY_ID["F17"]

    plan = a_plan(seconds=60.0, faults=[beat])

    assert {each.way for each in plan.injections} == set(beat.ways)


def test_a_frozen_worker_stays_frozen_past_its_lease():
    plan = a_plan(faults=[BY_ID["F16"]], lease=60.0)

    assert all(each.seconds > 60.0 for each in plan.injections)


def test_every_fault_can_be_done_and_every_place_exists():
    assert INJECT.keys() == BY_ID.keys()
    for ways in WAYS.values():
        assert ways
        for place in ways:
            assert parse(f"{place}=stop").keys() == {place}


def chaos(*arguments):
    return subprocess.run(
        [sys.executable, "manage.py", "chaos", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_prints_the_plan_and_leaves():
    done = chaos("--plan", "--seed", "3", "--minutes", "1", "--only", "F1,F19")

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("seed 3  plan ")
    assert {line.split()[2] for line in done.stdout.splitlines()[1:]} == {"F1", "F19"}


def test_the_plan_is_one_document_where_json_is_asked_for():
    done = chaos("--plan", "--json", "--seed", "3", "--minutes", "1", "--only", "F1,F19")
    document = json.loads(done.stdout)

    assert (document["seed"], document["seconds"], len(document["plan"])) == (3, 60.0, 12)
    assert {each["fault"] for each in document["injections"]} == {"F1", "F19"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--only", "F999"), "F999: there is no such fault"),
        (("--minutes", "0"), "every number has to be above zero"),
        (("--minutes", "inf", "--plan"), "--minutes is at most 10080, a week"),
        (("--minutes", "nan", "--plan"), "--minutes is at most 10080, a week"),
        (("--minutes", "0.05", "--only", "F15"), "the time is too short for F15"),
    ],
)
def test_wrong_use_is_told_from_a_red_run(arguments, said):
    done = chaos(*arguments)

    assert done.returncode == 2
    assert said in done.stderr
