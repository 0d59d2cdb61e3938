"""The grammar of failpoints, and that what a control file asks for happens once."""

import json
import re
import subprocess
import sys
from collections import Counter
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command

from sagas import failpoints
from sagas.checks import check_failpoints, check_time_outs
from sagas.failpoints import PLACES, FailpointHit, InvalidFailpoint, failpoint, parse
from tests.together import together

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def nothing_armed(monkeypatch):
    monkeypatch.delenv("CONCORD_FAILPOINTS", raising=False)
    monkeypatch.delenv("CONCORD_FAILPOINTS_FILE", raising=False)
    monkeypatch.setattr(failpoints, "_hits", Counter())


@pytest.fixture
def arm(monkeypatch):
    return lambda text: monkeypatch.setenv("CONCORD_FAILPOINTS", text)


@pytest.fixture
def control(monkeypatch, tmp_path):
    file = tmp_path / "failpoints"
    monkeypatch.setenv("CONCORD_FAILPOINTS_FILE", str(file))
    return file


def hits(name, times, detail=""):
    """At which of so many passes it raised."""
    found = []
    for number in range(1, times + 1):
        try:
            failpoint(name, detail)
        except FailpointHit:
            found.append(number)
    return found


def test_nothing_happens_while_nothing_is_armed():
    assert hits("step.committed", 3) == []


def test_an_armed_place_raises_at_every_pass(arm):
    arm("step.committed=raise")

    assert hits("step.committed", 3) == [1, 2, 3]
    assert hits("claim.committed", 3) == []


def test_the_nth_pass_is_the_only_one(arm):
    arm("step.committed=raise:2")

    assert hits("step.committed", 4) == [2]


def test_a_detail_narrows_the_place_to_one_step(arm):
    arm("step.committed/take=raise")

    assert hits("step.committed", 1, "hold") == []
    assert hits("step.committed", 1) == []
    assert hits("step.committed", 1, "take") == [1]


def test_the_nth_pass_of_a_detail_counts_only_its_own(arm):
    arm("step.committed/undo.take=raise:2")
    assert hits("step.committed", 3, "take") == []

    assert hits("step.committed", 3, "undo.take") == [2]


def test_several_places_stand_in_one_line(arm):
    arm(" step.committed=raise ;; claim.committed=after_then_raise:1\nrelay.selected=raise ")

    assert hits("step.committed", 1) == hits("claim.committed", 1) == [1]
    assert hits("relay.selected", 1, "orders") == [1]


def test_sleeping_waits_about_as_long_as_it_says(arm):
    arm("step.committed=sleep(0.01)")

    failpoint("step.committed")
    assert parse("step.committed=sleep(2.5):3")["step.committed"].seconds == 2.5


@pytest.mark.parametrize(
    "text",
    [
        "nowhere=kill",
        "step.committed",
        "step.committed=",
        "step.committed=explode",
        "step.committed=kill:",
        "step.committed=kill:x",
        "step.committed=kill:0",
        "step.committed=kill:-1",
        "step.committed=sleep",
        "step.committed=sleep()",
        "step.committed=sleep(1.2.3)",
        "step.committed=sleep(.)",
        "step.committed=sleep(-1)",
        "step.committed/=kill",
        "step.committed/a b=kill",
        "=kill",
        "step.committed=kill,claim.committed=kill",
    ],
)
def test_nonsense_is_refused_with_the_remedy(text):
    with pytest.raises(InvalidFailpoint) as refused:
        parse(f"claim.committed=kill;{text}")
    assert repr(text) in str(refused.value)
    assert "failpoints list" in str(refused.value)
    assert "kill, stop, raise, sleep(s), after_then_raise" in str(refused.value)


def test_a_control_file_that_is_not_there_asks_for_nothing(control):
    assert hits("step.committed", 2) == []


def test_what_a_control_file_asks_for_happens_once(control):
    control.write_text("step.committed/take=raise\nrelay.selected=raise")

    assert hits("step.committed", 3, "take") == [1]
    assert hits("relay.selected", 3) == [1]
    assert failpoints.mark(str(control), "step.committed/take").exists()


def test_a_control_file_may_be_written_while_the_process_runs(control):
    assert hits("step.committed", 1) == []
    control.write_text("step.committed=raise")
    assert hits("step.committed", 1) == [1]
    failpoints.mark(str(control), "step.committed").unlink()
    assert hits("step.committed", 2) == [1]


def test_the_nth_of_a_control_file_counts_the_passes_of_each_process(control):
    control.write_text("step.committed=raise:2")

    assert hits("step.committed", 4) == [2]


def test_a_control_file_is_hit_once_by_many_threads(control):
    control.write_text("step.committed=raise")

    outcomes = together(*[lambda: failpoint("step.committed")] * 16, connected=False)
    assert sum(isinstance(outcome, FailpointHit) for outcome in outcomes) == 1


def test_a_control_file_is_hit_once_over_all_processes(control, monkeypatch):
    control.write_text("step.committed=kill")
    program = "from sagas.failpoints import failpoint; failpoint('step.committed'); print('lives')"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    lived = [process.communicate(timeout=30)[0].strip() for process in started]

    assert sorted(lived) == ["", "lives", "lives", "lives"]
    assert sorted(process.returncode for process in started) == [-9, 0, 0, 0]


def test_every_place_is_used_and_every_used_place_is_listed():
    used = set()
    for package in ("sagas", "orders", "billing", "payments", "config"):
        for module in (ROOT / package).rglob("*.py"):
            used.update(re.findall(r'failpoint\(\s*"([a-z_.]+)"', module.read_text()))
            used.update(re.findall(r'"(close\.returned|call\.returned)"', module.read_text()))
    request = {name for name in PLACES if name.startswith("request.")}

    assert used - set(PLACES) == set()
    assert set(PLACES) - used <= request, "the request places belong to the HTTP idempotency"


# -- the checks -----------------------------------------------------------------------------------


def test_failpoints_in_production_are_refused(arm, settings):
    settings.DEBUG = settings.FAST = False
    arm("step.committed=kill")

    [error] = check_failpoints()
    assert (error.id, "CONCORD_FAILPOINTS" in error.hint) == ("sagas.E002", True)


def test_a_control_file_in_production_is_refused_even_before_it_is_written(control, settings):
    settings.DEBUG = settings.FAST = False

    assert [error.id for error in check_failpoints()] == ["sagas.E002"]


@pytest.mark.parametrize("profile", ["DEBUG", "FAST"])
def test_failpoints_outside_production_are_allowed_and_read(arm, settings, profile):
    settings.DEBUG = settings.FAST = False
    setattr(settings, profile, True)
    arm("step.committed=kill")
    assert check_failpoints() == []

    arm("step.comitted=kill")
    assert [error.id for error in check_failpoints()] == ["sagas.E003"]


def test_no_failpoints_no_finding(settings):
    settings.DEBUG = settings.FAST = False

    assert check_failpoints() == []


ORDER = ("CALL_TIMEOUT", "STEP_TIMEOUT", "HARD_LIMIT", "LEASE", "VISIBILITY")


def test_time_outs_in_their_order_are_accepted(settings):
    settings.SAGAS = {name: number for number, name in enumerate(ORDER, start=1)}
    assert check_time_outs() == []
    settings.SAGAS = {}
    assert check_time_outs() == [], "the defaults too"


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("equal", [True, False], ids=["equal", "longer"])
def test_a_time_out_that_comes_too_late_is_refused(settings, number, equal):
    shorter, longer = ORDER[number], ORDER[number + 1]
    values = {name: 10.0 * place for place, name in enumerate(ORDER, start=1)}
    settings.SAGAS = {**values, shorter: values[longer] + (0 if equal else 1)}

    errors = check_time_outs()
    assert f"SAGAS['{shorter}'] must be shorter than SAGAS['{longer}']" in str(errors[0])
    assert {error.id for error in errors} == {"sagas.E001"}


# -- the command ----------------------------------------------------------------------------------


def test_the_places_are_listed_for_people_and_for_programs():
    text, document = StringIO(), StringIO()
    call_command("failpoints", "list", stdout=text)
    call_command("failpoints", "list", "--json", stdout=document)

    assert len(text.getvalue().splitlines()) == len(PLACES)
    rows = json.loads(document.getvalue())["failpoints"]
    assert {row["name"]: row["guards"] for row in rows} == PLACES
