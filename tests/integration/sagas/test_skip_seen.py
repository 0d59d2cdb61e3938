"""A skip settles what the operator saw and nothing else: forward it means another thing."""

import pytest
from django.core.management import CommandError

from sagas.api import cancel, park, resume, skip
from sagas.models import OperatorAction
from sagas.orchestration import parked as parked_sagas
from sagas.orchestration import seen, skipping
from tests.integration.admin.world import look, press, signed_in
from tests.integration.sagas import fan
from tests.integration.sagas.conftest import row
from tests.integration.sagas.test_commands import document, said
from tests.integration.sagas.watching import shown

pytestmark = pytest.mark.usefixtures("fan_saga")

BACK = (
    "you saw it at step take, going forward; now it is at step take, on its way back:"
    " look again, then decide"
)
WITH_A_REASON = ("--reason", "settled by telephone")


def pause(saga_id):
    assert park(saga_id, by="alice", reason="look at it") is True


@pytest.fixture
def parked(broker, fan_saga):
    """A saga that was parked before its first step, which may be missed."""
    saga_id = fan.begin()
    pause(saga_id)
    broker.take()
    return saga_id


def turn_round(saga_id):
    """Somebody cancels it, and it is parked again where it stood: on its way back."""
    cancel(saga_id, reason="no", by="carol")
    while row(saga_id).cursor != fan.TAKE:
        pause(saga_id)
        assert skip(saga_id, by="carol", reason="nothing was done") is True
    pause(saga_id)


def nothing_is_settled(saga_id):
    saga = row(saga_id)
    assert (saga.status, saga.cursor, saga.parked_at is None) == ("compensating", fan.TAKE, False)
    last = OperatorAction.objects.filter(action="skip").latest("at")
    return last.outcome == "refused"


def test_a_form_that_showed_a_step_forward_does_not_settle_its_undo(parked):
    client = signed_in("administrator")
    [form] = look(client, "sagas_sagainstance", "skip", parked)
    assert form == f"{parked}|forward:take:{row(parked).fencing_token}"
    turn_round(parked)

    page = press(client, "sagas_sagainstance", "skip", seen=[form])

    assert [outcome.refusal for outcome in page.context["outcomes"]] == [BACK]
    assert nothing_is_settled(parked)


def test_a_saga_that_turns_round_while_the_form_is_read_is_not_settled(parked, monkeypatch):
    """The form compares first; the service compares again with the row that it changes."""
    client = signed_in("administrator")
    form = look(client, "sagas_sagainstance", "skip", parked)
    find = skipping.find

    def late(*told):
        monkeypatch.setattr(skipping, "find", find)
        turn_round(parked)
        return find(*told)

    monkeypatch.setattr(skipping, "find", late)
    page = press(client, "sagas_sagainstance", "skip", seen=form)

    assert [outcome.refusal for outcome in page.context["outcomes"]] == [BACK]
    assert nothing_is_settled(parked)


def test_a_terminal_that_was_shown_a_step_forward_does_not_settle_its_undo(parked):
    saw = shown(parked)
    turn_round(parked)

    assert said("skip", parked, *saw, *WITH_A_REASON) == (f"skip: refused, {BACK}\n", 1)
    assert nothing_is_settled(parked)
    assert said("skip", parked, *shown(parked), *WITH_A_REASON) == ("skip: done\n", 0)
    assert row(parked).status == "compensated"


def test_a_saga_that_has_gone_on_and_come_back_to_the_same_place_is_looked_at_again(parked):
    saw = shown(parked)
    client = signed_in("administrator")
    form = look(client, "sagas_sagainstance", "skip", parked)
    resume(parked, by="carol", reason="go")
    pause(parked)

    why = (
        "it has gone on since you looked and is again at step take, going forward:"
        " look again, then decide"
    )
    assert said("skip", parked, *saw, *WITH_A_REASON) == (f"skip: refused, {why}\n", 1)
    page = press(client, "sagas_sagainstance", "skip", seen=form)
    assert [outcome.refusal for outcome in page.context["outcomes"]] == [why]
    assert row(parked).cursor == fan.TAKE


def test_a_saga_at_another_step_is_refused_by_name(parked):
    saw = seen.look(row(parked))
    assert skip(parked, by="carol", reason="without it", seen=saw) is True
    pause(parked)

    assert skip(parked, by="bob", reason="settled by telephone", seen=saw) is False
    assert seen.changed(saw, row(parked)) == (
        "you saw it at step take, going forward; now it is at step pack, going forward:"
        " look again, then decide"
    )


def test_of_a_cause_only_those_are_skipped_that_stand_where_the_list_said(broker, parked):
    other = fan.begin()
    pause(other)
    turn_round(other)
    causes = document("list", "--by-cause")[0]["causes"]
    assert sorted((c["way"], c["step"], c["count"]) for c in causes) == [
        ("back", "take", 1),
        ("forward", "take", 1),
    ]

    told = said("skip", "--cause", "look at it", "--seen", "forward:take", *WITH_A_REASON)

    assert told == (f"{parked}  done\nskip: 1 done, 0 refused\n", 0)
    assert nothing_is_settled(other) is False, "nobody has asked"


def test_one_of_a_cause_that_turns_round_meanwhile_is_refused(parked, monkeypatch):
    alike = parked_sagas.alike

    def late(*told):
        found = alike(*told)
        turn_round(parked)
        return found

    monkeypatch.setattr(parked_sagas, "alike", late)
    told = said("skip", "--cause", "look at it", "--seen", "forward:take", *WITH_A_REASON)

    assert told == (f"{parked}  refused\nskip: 0 done, 1 refused\n", 1)
    assert nothing_is_settled(parked)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((), "the following arguments are required: --seen"),
        (("--seen", "take"), "'take' does not say what was seen, like forward:take:17"),
        (("--seen", "sideways:take:1"), "does not say what was seen"),
        (("--seen", f"forward:take:{'9' * 5000}"), "does not say what was seen"),
        (("--seen", "forward:take"), "of one saga --seen has a number too"),
    ],
)
def test_a_terminal_that_does_not_say_what_was_seen_is_wrong_use(parked, words, why):
    with pytest.raises(CommandError, match=why) as wrong:
        said("skip", parked, *words, *WITH_A_REASON)

    assert not OperatorAction.objects.filter(action="skip").exists()
    assert row(parked).cursor == fan.TAKE
    assert wrong.value.returncode in {1, 2}


def test_a_form_that_carries_nothing_of_the_kind_is_refused(parked):
    page = press(
        signed_in("administrator"), "sagas_sagainstance", "skip", seen=[f"{parked}|running:0:1"]
    )

    [outcome] = page.context["outcomes"]
    assert outcome.refusal == "'running:0:1' does not say what was seen, like forward:take:17"
    assert row(parked).cursor == fan.TAKE


def test_show_says_what_a_skip_takes(parked):
    text = f"forward:take:{row(parked).fencing_token}"

    assert f"to skip:  --seen {text}\n" in said("show", parked)[0]
    assert document("show", parked)[0]["seen"] == text
    running = fan.begin()
    assert "to skip" not in said("show", running)[0]
