"""What an operator writes is told to be wrong before the database has to say so."""

import subprocess
import sys

import pytest
from django.core.management import CommandError, call_command

from sagas.api import Cancellation, UnfitText, cancel, compensate, park, resume, signal, skip, uuid7
from sagas.models import DeadLetter, OperatorAction
from sagas.orchestration.signals import signal_by_operator
from sagas.outbox import dead_letters, discarding
from sagas.outbox.resending import resend_event
from tests.integration.admin.world import (
    a_dead_letter,
    a_parked_saga,
    a_running_saga,
    an_event,
    look,
    press,
    signed_in,
)
from tests.integration.sagas.conftest import row

pytestmark = pytest.mark.usefixtures("nobody_listens")

UNFIT = ("zero\x00byte", "half \ud83d")


def outcomes(response):
    return [outcome.refusal for outcome in response.context["outcomes"]]


def acts():
    found = OperatorAction.objects.order_by("id")
    return list(found.values_list("action", "by", "reason", "outcome"))


ACTS = {
    "resume": lambda _, **told: resume(uuid7(), **told),
    "park": lambda _, **told: park(uuid7(), **told),
    "compensate": lambda _, **told: compensate(uuid7(), **told),
    "skip": lambda _, **told: skip(uuid7(), **told),
    "signal": lambda _, **told: signal_by_operator(uuid7(), "approval", {}, key="k", **told),
    "resend": lambda letter, **told: dead_letters.resend(letter.id, **told),
    "discard": lambda letter, **told: discarding.discard(letter.id, **told),
    "resend event": lambda letter, **told: resend_event("orders", letter.event_id, seen=0, **told),
}


@pytest.mark.parametrize("text", UNFIT)
@pytest.mark.parametrize("field", ["reason", "by"])
@pytest.mark.parametrize("act", ACTS)
def test_no_act_begins_with_a_text_that_cannot_be_stored(broker, act, field, text):
    letter = a_dead_letter()
    told = {"by": "alice", "reason": "mended", field: text}

    with pytest.raises(UnfitText, match=f"^{field} has a zero byte, or half of a surrogate pair"):
        ACTS[act](letter, **told)
    assert acts() == []
    assert DeadLetter.objects.get(id=letter.id).resolved_at is None


@pytest.mark.parametrize("text", UNFIT)
@pytest.mark.parametrize("field", ["name", "key"])
def test_a_signal_is_refused_by_the_field_that_cannot_be_stored(broker, field, text):
    told = {"name": "approval", "key": "k", field: text}

    with pytest.raises(UnfitText, match=f"^{field} has a zero byte"):
        signal(a_running_saga(), told["name"], {}, key=told["key"])


@pytest.mark.parametrize("text", UNFIT)
def test_a_customers_words_are_kept_with_an_escape(broker, text):
    saga_id = a_running_saga()

    assert cancel(saga_id, reason=text, by=text) is Cancellation.ACCEPTED
    kept = text.replace("\x00", r"\x00").replace("\ud83d", r"\ud83d")
    assert (row(saga_id).failure, row(saga_id).canceled_by) == (kept, kept)


WORDS = (
    ("sagas", "resume", "ID", "--reason", "TEXT"),
    ("sagas", "skip", "ID", "--seen", "forward:take:1", "--reason", "r", "--by", "TEXT"),
    ("sagas", "skip", "ID", "--seen", "forward:take:1", "--reason", "r", "--step", "TEXT"),
    ("sagas", "skip", "ID", "--reason", "r", "--seen", "TEXT"),
    ("sagas", "resume", "--reason", "r", "--cause", "TEXT"),
    ("sagas", "resume", "--reason", "r", "--cause", "c", "--name", "TEXT"),
    ("sagas", "list", "--name", "TEXT"),
    ("sagas", "signal", "ID", "approval", "--key", "k", "--reason", "TEXT"),
    ("sagas", "signal", "ID", "approval", "--reason", "r", "--key", "TEXT"),
    ("deadletters", "list", "--context", "TEXT"),
    ("deadletters", "resend", "--reason", "r", "--cause", "TEXT"),
    ("deadletters", "discard", "ID", "--yes", "--reason", "TEXT"),
)


@pytest.mark.parametrize("text", UNFIT)
@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_a_terminal_names_the_argument_that_is_no_text(broker, words, text):
    argument = words[words.index("TEXT") - 1]
    places = {"ID": str(uuid7()), "TEXT": text}

    with pytest.raises(CommandError, match=f"argument {argument}: it has a zero byte"):
        call_command(*[places.get(word, word) for word in words])
    assert acts() == []


def test_bytes_that_are_no_text_are_wrong_use_in_one_line(broker):
    words = ["sagas", "resume", str(uuid7()), "--reason", b"caf\xe9"]
    ended = subprocess.run(
        [sys.executable, "manage.py", *words], capture_output=True, text=True, check=False
    )

    assert ended.returncode == 2
    assert "argument --reason: it has a zero byte, or bytes that are no UTF-8" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("action", ["resume", "skip", "park", "compensate"])
def test_the_admin_asks_anew_for_a_reason_with_a_zero_byte(broker, action):
    saga_id = a_parked_saga(broker) if action in {"resume", "skip"} else a_running_saga()
    client = signed_in("administrator")
    before = acts()

    response = press(client, "sagas_sagainstance", action, saga_id, reason="zero\x00byte")
    assert response.status_code == 422
    assert "Null characters are not allowed" in response.content.decode()
    assert acts() == before


@pytest.mark.parametrize("branch", UNFIT)
def test_a_branch_of_such_a_name_is_refused(broker, fan_saga, group, branch):
    saga_id = group
    park(saga_id, by="alice", reason="look at it")
    client = signed_in("administrator")
    [seen] = look(client, "sagas_sagainstance", "skip", f"{saga_id}:score")
    named = seen.replace("score", branch.encode(errors="replace").decode())

    response = press(client, "sagas_sagainstance", "skip", seen=[named])
    assert response.status_code == 200
    assert len(outcomes(response)) == 1
    assert skip(saga_id, by="alice", reason="r", step=branch) is False
    assert {outcome for *_, outcome in acts()[-2:]} == {"refused"}
    assert row(saga_id).parked_at is not None


def test_an_event_whose_key_has_a_zero_byte_is_gone(broker):
    an_event()
    response = press(signed_in("operator"), "orders_outbox", "resend", seen=["1\x00|0"])

    assert outcomes(response) == ["it is gone"]
