"""A saga in a group, as pages and the terminal show it."""

import json

import pytest

from sagas import clock, standing
from sagas.admin import detail, filters, saga_acts
from sagas.api import saga_status, uuid7
from sagas.models import OperatorAction, SagaInstance, StepFault, StepRun
from sagas.orchestration import branch_rows, orchestrator
from sagas.orchestration.branches import run_branch
from tests.integration.admin.world import act_url, look, press, saga_page, signed_in
from tests.integration.sagas import fan, trial
from tests.integration.sagas.conftest import (  # noqa: F401 - fixtures
    broker,
    fan_saga,
    row,
    trial_saga,
)
from tests.integration.sagas.conftest import group as in_a_group  # noqa: F401 - a fixture
from tests.integration.sagas.test_commands import said
from tests.integration.sagas.test_link_ends import raising

NAMES = "pack, hold, score"
NOT_MISSED = "is done or cannot be missed: mend the cause and resume it, or compensate it"


@pytest.fixture
def saga_id(in_a_group):  # noqa: F811
    """One branch is done, one waits for its next attempt, one is under way."""
    run_branch(in_a_group, fan.PACK)
    trial.SCRIPT["score"] = raising(RuntimeError("down"))
    run_branch(in_a_group, fan.SCORE)
    assert branch_rows.claim(in_a_group, fan.HOLD) is not None
    return in_a_group


def test_the_view_names_the_branch_with_the_most_attempts_and_all_that_are_left(saga_id):
    StepRun.objects.filter(saga_id=saga_id, step_no=fan.SCORE).update(attempts=3)

    view = saga_status(saga_id)
    assert (view.step, view.branches, view.attempts) == ("score", ("hold", "score"), 3)
    assert view.last_fault_kind == "fault"
    assert view.next_at == StepRun.objects.get(saga_id=saga_id, step_no=fan.SCORE).not_before


def test_the_list_names_the_branches_and_how_many_are_left(saga_id):
    assert standing.step_text(row(saga_id)) == f"2-4/7 {NAMES} (2 left)"


def test_the_sentence_says_how_each_branch_stands(saga_id):
    saga = row(saga_id)
    faults = list(StepFault.objects.filter(saga_id=saga_id))
    runs = list(StepRun.objects.filter(saga_id=saga_id).order_by("step_no"))

    told = standing.sentence(saga, faults, clock.real(), runs)
    assert told.startswith(
        "2 of 3 steps that run side by side are left. pack is done."
        " hold is being carried out now; the lease ends in "
    )
    assert " score waits, 1 times begun; next attempt in " in told


def test_the_picture_shows_which_branches_are_left(saga_id):
    picture = detail.gather(row(saga_id)).picture

    assert [lane.name for lane in picture.lanes if lane.is_current] == ["hold", "score"]
    kinds = {
        lane.name: [shape.classes.split()[0] for shape in lane.shapes] for lane in picture.lanes
    }
    assert kinds["pack"] == ["tl-done"]
    assert kinds["hold"] == ["tl-working"]
    assert {"tl-attempt", "tl-mark-fault", "tl-gap"} <= set(kinds["score"])


@pytest.mark.parametrize(("step", "found"), [("pack", 1), ("score", 1), ("take", 0)])
def test_the_filter_finds_it_by_each_of_its_branches(saga_id, step, found):
    chosen = filters.StepFilter(None, {"step": [step]}, SagaInstance, None)

    assert chosen.queryset(None, SagaInstance.objects.all()).count() == found


def test_what_a_compensation_would_undo_includes_every_branch(saga_id):
    states = {run.step_no: run.state for run in StepRun.objects.filter(saga_id=saga_id)}

    assert saga_acts.Compensate().preview(row(saga_id), states) == (
        "score is closed for good, and undone if it took effect.",
        "hold is closed for good, and undone if it took effect.",
        "pack is undone.",
        "take is undone.",
    )


def test_the_pages_can_be_read(saga_id):
    viewer = signed_in("viewer")

    assert NAMES in viewer.get("/admin/sagas/sagainstance/").content.decode()
    page = viewer.get(f"/admin/sagas/sagainstance/{saga_id}/change/").content.decode()
    assert "2 of 3 steps that run side by side are left." in page


def test_the_terminal_shows_when_a_branch_is_due(saga_id):
    text, _ = said("show", saga_id)
    due = StepRun.objects.get(saga_id=saga_id, step_no=fan.SCORE).due_at
    assert f"score                    pending   attempts 1, due {due:%H:%M:%S}" in text

    document = json.loads(said("show", saga_id, "--json")[0])
    left = {step["name"] for step in document["steps"] if step["due_at"]}
    assert left == {"hold", "score"}


# -- skipping one of several -----------------------------------------------------------------------


@pytest.fixture
def parked(in_a_group):  # noqa: F811
    assert orchestrator.park(in_a_group, by="alice", reason="look at it") is True
    return in_a_group


def skip_buttons(role, parked):
    page = signed_in(role).get(saga_page(parked))
    buttons = page.context["buttons"]
    return [(b.label, b.url, b.refusal) for b in buttons if b.label.startswith("Skip")]


def test_each_branch_that_may_be_missed_has_a_button_of_its_own(parked):
    url = f"{act_url('sagas_sagainstance', 'skip')}?id={parked}"

    assert skip_buttons("administrator", parked) == [("Skip step score…", f"{url}:score", "")]
    assert skip_buttons("operator", parked) == [("Skip step…", url, "your account may not do this")]


def test_one_branch_of_several_is_skipped_in_the_admin_and_the_audit_says_why(parked):
    client = signed_in("administrator")
    key = f"{parked}:score"
    [target] = client.get(act_url("sagas_sagainstance", "skip"), {"id": key}).context["targets"]

    page = press(client, "sagas_sagainstance", "skip", key, reason="not needed")

    assert target.preview == (
        "Step score: the saga goes on without it.",
        "The steps beside it are tried again: pack, hold.",
        "It was parked because: look at it.",
    )
    assert [outcome.refusal for outcome in page.context["outcomes"]] == [None]
    assert (row(parked).pending, row(parked).parked_at) == (2, None)
    assert StepRun.objects.get(saga_id=parked, name="score").state == "skipped"
    act = OperatorAction.objects.get(action="skip")
    assert (act.target_id, act.reason, act.outcome) == (str(parked), "not needed", "done")


def test_of_two_who_skip_a_branch_one_hears_that_it_goes_on_already(parked):
    key = f"{parked}:score"
    clients = [signed_in("administrator") for _ in range(2)]
    seen = look(clients[0], "sagas_sagainstance", "skip", key)

    pages = [press(c, "sagas_sagainstance", "skip", key, seen=seen) for c in clients]

    told = [outcome.refusal for page in pages for outcome in page.context["outcomes"]]
    assert told == [None, "it is not parked"]
    acts = OperatorAction.objects.filter(action="skip", target_id=str(parked))
    assert list(acts.order_by("id").values_list("outcome", flat=True)) == ["done", "refused"]


@pytest.mark.parametrize(
    ("branch", "why"),
    [
        ("pack", f"pack {NOT_MISSED}"),
        ("nothing", f"nothing {NOT_MISSED}"),
        ("", "several steps side by side are left: choose one (a terminal takes --step)"),
    ],
)
def test_a_branch_that_cannot_be_missed_is_not_skipped(parked, branch, why):
    page = press(
        signed_in("administrator"),
        "sagas_sagainstance",
        "skip",
        f"{parked}:{branch}" if branch else parked,
    )

    assert [outcome.refusal for outcome in page.context["outcomes"]] == [why]
    assert (row(parked).pending, row(parked).parked_at is None) == (3, False)
    refused = OperatorAction.objects.get(action="skip")
    assert (refused.target_id, refused.outcome) == (str(parked), "refused")


@pytest.mark.parametrize(
    ("left", "refusal"), [(fan.SCORE, ""), (fan.HOLD, f"hold {NOT_MISSED}")], ids=["score", "hold"]
)
def test_the_last_branch_that_is_left_has_the_button_of_a_step(in_a_group, left, refusal):  # noqa: F811
    for branch in {fan.PACK, fan.HOLD, fan.SCORE} - {left}:
        run_branch(in_a_group, branch)
    assert orchestrator.park(in_a_group, by="alice", reason="look at it") is True

    url = f"{act_url('sagas_sagainstance', 'skip')}?id={in_a_group}"
    assert skip_buttons("administrator", in_a_group) == [("Skip step…", url, refusal)]


def test_a_saga_that_is_gone_has_no_branch_to_skip():
    url = act_url("sagas_sagainstance", "skip")
    page = signed_in("administrator").get(url, {"id": ["no-id:score", f"{uuid7()}:score"]})

    assert page.context["targets"] == []


def test_branches_of_a_definition_that_is_gone_have_no_buttons(parked):
    SagaInstance.objects.filter(id=parked).update(def_version=99)

    assert [refusal for _, _, refusal in skip_buttons("administrator", parked)] == [
        "no release that runs here knows its definition"
    ]
