"""What people are told of a saga that waits: by ``saga_status``, the terminal and the admin."""

import json
import re
from datetime import timedelta

import pytest
from django.core.management import CommandError

from sagas import clock
from sagas.admin.detail import gather
from sagas.api import park, saga_status
from sagas.management import outlook
from sagas.models import OperatorAction, SagaInstance
from sagas.orchestration.asleep import wait_of
from sagas.standing import word
from tests.integration.sagas import waiting
from tests.integration.sagas.conftest import row
from tests.integration.sagas.test_commands import document, said
from tests.integration.sagas.waiting import LISTENING, PATIENT, SLEEPY

AT = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"


@pytest.fixture(autouse=True)
def waiting_sagas(trial_saga):
    waiting.register()


def asleep(broker, saga=LISTENING):
    saga_id = waiting.begin(saga)
    broker.drain()
    return saga_id


@pytest.mark.parametrize(
    ("saga", "words"),
    [
        (LISTENING, f"waits for the signal approve, since {AT}, until {AT}; then it compensates"),
        (
            PATIENT,
            f"waits for the signal approve, since {AT}, until {AT}; then it goes on without it",
        ),
        (SLEEPY, rf"lets time pass \(cool_off\), since {AT}, until {AT}; then it goes on"),
    ],
    ids=["compensates", "goes on", "timer"],
)
def test_a_wait_is_told_with_its_beginning_its_end_and_what_follows(broker, saga, words):
    saga_id = asleep(broker, saga)
    view = saga_status(saga_id)

    assert re.fullmatch(words, view.waits.words)
    assert view.waits.until == row(saga_id).wait_until
    assert abs(view.waits.since - clock.real()) < timedelta(minutes=1)
    assert view.next_at is None


def test_a_parent_says_which_child_it_waits_for_and_how_that_one_stands(broker):
    saga_id = waiting.begin_parent()
    broker.drain()
    child = SagaInstance.objects.get(parent_id=saga_id)

    assert re.fullmatch(
        rf"waits for its child \(errand\): payments\.errand {child.id}, which is running,"
        rf" since {AT}, at the longest until its deadline, {AT}",
        saga_status(saga_id).waits.words,
    )


def test_a_lock_and_a_definition_that_is_gone_are_told_as_well(broker):
    saga_id = asleep(broker)
    SagaInstance.objects.filter(id=saga_id).update(
        waiting_for="lock:order/1", wait_until=None, past_return=True, name="orders.gone"
    )

    assert re.fullmatch(
        rf"waits for the lock order/1, since {AT}, at the longest until its deadline, {AT}",
        wait_of(row(saga_id)).words,
    )


def test_a_saga_that_does_not_wait_says_so(broker):
    saga_id = waiting.begin()

    assert saga_status(saga_id).waits is None
    assert saga_status(saga_id).waits is wait_of(row(saga_id))


def test_the_admin_says_it_in_its_sentence_and_its_chip(broker):
    saga_id = asleep(broker)
    assert word(row(saga_id)) == "waiting"
    assert re.match(
        f"It waits for the signal approve, since {AT}, until {AT}; then it compensates. The point",
        gather(row(saga_id)).sentence,
    )

    park(saga_id, by="alice", reason="look into it")
    assert word(row(saga_id)) == "parked"
    assert gather(row(saga_id)).sentence.startswith("Parked ")


def test_the_terminal_says_it_in_the_list_and_on_the_page(broker):
    saga_id = asleep(broker)
    waiting.begin()

    found, _ = document("list", "--status", "waiting")
    assert [saga["saga_id"] for saga in found["sagas"]] == [str(saga_id)]
    assert found["sagas"][0]["waiting_for"] == "signal:approve"
    assert "waits for the signal approve, since" in said("list")[0]
    assert "then it compensates" in said("show", saga_id)[0]


def by_hand(saga_id, *more, key="1", payload='{"by": "olga"}'):
    return said(
        *("signal", saga_id, "approve", "--payload", payload, "--key", key),
        *("--reason", "told by phone", "--by", "olga", *more),
    )


def test_an_operator_signals_from_the_terminal_and_it_is_kept_who_and_why(broker):
    saga_id = asleep(broker)
    assert by_hand(saga_id) == ("delivered: the saga goes on\n", 0)
    broker.drain()
    assert row(saga_id).state["approved_by"] == "olga"

    told, code = by_hand(saga_id, "--json")
    assert (json.loads(told), code) == ({"saga_id": str(saga_id), "outcome": "duplicate"}, 0)
    assert by_hand(saga_id, key="2")[1] == 1
    assert list(
        OperatorAction.objects.order_by("id").values_list("action", "by", "reason", "outcome")
    ) == [
        ("signal approve", "olga", "told by phone", "delivered"),
        ("signal approve", "olga", "told by phone", "duplicate"),
        ("signal approve", "olga", "told by phone", "finished"),
    ]


@pytest.mark.parametrize(
    ("words", "refused"),
    [
        (("approve", "--payload", "{"), "--payload is no JSON"),
        (("approve", "--payload", "[" * 5000), "--payload is no JSON: nested too deeply"),
        (("approve", "--payload", '{"by": 3}'), r"Approved\.by: expected str, found 3"),
        (("aprove",), "it listens to approve"),
        (("approve", "--payload", '{"by": "a"}', "--reason", " "), "Say why"),
    ],
)
def test_a_signal_by_hand_that_is_wrong_is_refused_with_the_reason(broker, words, refused):
    saga_id = asleep(broker)
    reason = () if "--reason" in words else ("--reason", "why not")
    with pytest.raises(CommandError, match=refused) as caught:
        said("signal", saga_id, *words, "--key", "1", *reason)

    assert caught.value.returncode == 2
    assert not OperatorAction.objects.exists()


def test_a_signal_by_hand_for_no_saga_is_refused(broker):
    with pytest.raises(CommandError, match="there is no saga"):
        by_hand(waiting.uuid7())


@pytest.mark.parametrize("begin", [waiting.begin, waiting.begin_parent])
def test_a_terminal_says_of_a_saga_that_waits_what_the_admin_says(broker, begin):
    saga_id = begin()
    broker.drain()
    saga = row(saga_id)

    assert outlook.sentence(saga) == gather(saga).sentence
    assert outlook.sentence(saga).startswith("It waits for ")
