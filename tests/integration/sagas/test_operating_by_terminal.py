"""What is stuck, by cause, and what an operator does about it from a terminal."""

import io
import json
import re
from datetime import timedelta
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import InterfaceError, OperationalError
from django.db.backends.utils import CursorWrapper
from django.db.models.functions import Now
from django.urls import reverse
from psycopg import errors

from orders.models import Outbox
from sagas.api import uuid7
from sagas.management import acting, outlook
from sagas.management.commands import sagas as terminal
from sagas.models import DeadLetter, OperatorAction
from sagas.orchestration import canvas, orchestrator, parked, pressable, seen, stops
from sagas.outbox import dead_letters, discarding
from sagas.outbox.delivery import deliver
from tests.concurrency.sagas.test_held_rows import held, short_patience
from tests.databases import rows
from tests.integration.admin.world import press, signed_in
from tests.integration.sagas import trial
from tests.integration.sagas.conftest import row
from tests.integration.sagas.news import a_teller, inbox, listen, position, tell
from tests.integration.sagas.test_link_ends import raising
from tests.together import together

pytestmark = pytest.mark.usefixtures("nobody_listens")


WHY = ("--reason", "mended")


def said(*words):
    """What a command prints, and its exit code."""
    out = io.StringIO()
    try:
        call_command(*map(str, words), stdout=out, stderr=io.StringIO())
    except SystemExit as exited:
        return out.getvalue(), exited.code
    return out.getvalue(), 0


def document(*words):
    text, code = said(*words, "--json")
    return json.loads(text), code


def acts():
    found = OperatorAction.objects.order_by("id")
    return sorted(found.values_list("action", "by", "outcome"))


# -- dead letters ----------------------------------------------------------------------------------


@pytest.fixture
def letters(broker, settings):
    """Two events that billing could not handle for the same cause, one for another.

    Each teller has told something else since.
    """
    settings.SAGAS = {**settings.SAGAS, "HANDLER_ATTEMPTS": 1}
    faults = {"1": KeyError("account 17"), "2": KeyError("account 4711"), "x": ValueError("bad")}

    def act(text):
        if text in faults:
            raise faults[text]

    listen(act=act)
    tellers = [a_teller() for _ in faults]
    for teller, text in zip(tellers, list(faults), strict=True):
        first, _ = tell(teller, text, "later")
        deliver("orders", "billing", [first])
    broker.take()
    return tellers, list(DeadLetter.objects.order_by("id")), faults


def test_dead_letters_are_listed_one_by_one_and_by_cause(letters):
    found, code = document("deadletters", "list", "--context", "billing")

    assert code == 0
    assert [letter["reason"] for letter in found["dead_letters"]] == [
        "KeyError: 'account 17'",
        "KeyError: 'account 4711'",
        "ValueError: bad",
    ]
    causes = document("deadletters", "list", "--by-cause")[0]["causes"]
    assert [(each["count"], each["cause"]) for each in causes] == [
        (2, "KeyError: 'account #'"),
        (1, "ValueError: bad"),
    ]
    lines = said("deadletters", "list")[0].splitlines()
    assert "1 attempts, waits for an operator: ValueError: bad" in lines[2]
    assert "orders.TrialTold in billing" in said("deadletters", "list", "--by-cause")[0]
    assert said("deadletters", "list", "--context", "payments") == ("no dead letter is open\n", 0)


def test_the_letters_of_one_cause_are_resent(letters, broker):
    tellers, (first, second, other), faults = letters
    faults.clear()

    told, code = document(
        "deadletters", "resend", "--cause", "KeyError: 'account #'", "--reason", "mended"
    )

    assert (told["done"], told["refused"], code) == ([str(first.id), str(second.id)], [], 0)
    broker.drain()
    assert [position(teller) for teller in tellers] == [2, 2, 0]
    assert acts() == [("resend", "terminal", "done")] * 2
    again = said("deadletters", "resend", first.id, other.id, "--reason", "all", "--by", "bob")
    assert again[0].splitlines()[:2] == [f"{first.id}  refused", f"{other.id}  done"]
    assert (again[0].splitlines()[2], again[1]) == ("resend: 1 done, 1 refused", 1)
    assert said("deadletters", "resend", "--cause", "no such", "--reason", "r")[1] == 1


@pytest.fixture
def by_then(monkeypatch):
    """Lets something happen when the letters of a cause are chosen and none is sent yet."""
    on_each = acting.on_each

    def take(act):
        def act_first(*words, **options):
            act()
            return on_each(*words, **options)

        monkeypatch.setattr(acting, "on_each", act_first)

    return take


def test_the_letters_of_a_cause_that_another_has_in_hand_meanwhile_are_left_alone(
    letters, broker, by_then
):
    """One is sent again and fails as before, one is discarded; the third is as it was seen."""
    _, (first, second, other), _ = letters
    DeadLetter.objects.filter(id=other.id).update(reason="KeyError: 'account 5'")

    def by_bob():
        dead_letters.resend(first.id, by="bob", reason="mended")
        discarding.discard(second.id, by="bob", reason="never")
        broker.drain()

    by_then(by_bob)
    told, code = document("deadletters", "resend", "--cause", "KeyError: 'account #'", *WHY)
    assert (told["done"], told["refused"]) == ([str(other.id)], [str(first.id), str(second.id)])
    assert code == 1
    first.refresh_from_db()
    assert (first.attempts, first.next_at) == (1, None), "as bob's attempt has left it"


def test_a_letter_that_fails_for_another_cause_by_then_is_not_resent_for_this_one(letters, by_then):
    _, (first, second, _), _ = letters
    DeadLetter.objects.update(next_at=Now() + timedelta(hours=1))  # they are tried by themselves

    def by_themselves():
        DeadLetter.objects.filter(id=first.id).update(reason="no account", last_at=Now())
        DeadLetter.objects.filter(id=second.id).update(attempts=2, last_at=Now())

    by_then(by_themselves)
    told, _ = document("deadletters", "resend", "--cause", "KeyError: 'account #'", *WHY)
    assert (told["done"], told["refused"]) == ([str(second.id)], [str(first.id)])


def test_what_another_has_sent_again_while_one_was_asked_is_not_discarded(
    letters, broker, monkeypatch
):
    tellers, (first, *_), _ = letters

    def asked(_):
        dead_letters.resend(first.id, by="bob", reason="mended")
        broker.drain()
        return "discard"

    monkeypatch.setattr("builtins.input", asked)
    assert said("deadletters", "discard", first.id, *WHY)[1] == 1
    assert position(tellers[0]) == 0
    assert acts() == [("discard", "terminal", "refused"), ("resend", "bob", "done")]


def test_a_context_goes_on_without_what_is_discarded(letters, broker, monkeypatch):
    tellers, (_, _, other), _ = letters
    answers = iter(["no", "discard"])
    monkeypatch.setattr("builtins.input", lambda _: next(answers))
    words = ("deadletters", "discard", other.id, "--reason", "a test order", "--by", "bob")

    assert said(*words) == ("", 1)
    assert acts() == []
    assert said(*words)[1] == 0
    broker.drain()
    assert (position(tellers[2]), trial.effects()) == (2, ["billing:later#2"])
    assert other.event_id in inbox()
    other.refresh_from_db()
    assert other.resolved_at is not None
    assert said(*words, "--yes")[1] == 1
    assert acts() == [("discard", "bob", "done"), ("discard", "bob", "refused")]


def test_nothing_is_discarded_where_nobody_can_be_asked(letters, monkeypatch):
    def nobody(_):
        raise EOFError

    monkeypatch.setattr("builtins.input", nobody)

    _, [letter, *_], _ = letters
    assert said("deadletters", "discard", letter.id, "--reason", "r") == ("", 1)
    assert acts() == []


def test_of_two_who_discard_at_once_one_does(letters):
    _, [letter, *_], _ = letters

    def press(who):
        return lambda: discarding.discard(letter.id, by=who, reason="never")

    assert sorted(together(press("alice"), press("bob"))) == [False, True]
    assert sorted(outcome for _, _, outcome in acts()) == ["done", "refused"]
    assert sorted(by for _, by, _ in acts()) == ["alice", "bob"]


def test_what_was_applied_in_the_meantime_is_not_discarded(letters):
    _, [letter, *_], faults = letters
    faults.clear()
    DeadLetter.objects.filter(id=letter.id).update(resolved_at="2026-01-01T00:00Z")
    deliver("orders", "billing", [str(letter.event_id)])
    DeadLetter.objects.filter(id=letter.id).update(resolved_at=None)

    assert discarding.discard(letter.id, by="alice", reason="never") is False
    assert acts() == [("discard", "alice", "refused")]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["resend", "--reason", "r"], "name either ids or a --cause"),
        (["resend", "letter-1", "--reason", "r"], "'letter-1' is no dead letter id"),
        (["resend", str(uuid7()), "--reason", "r"], "there is no dead letter"),
        (["discard", str(uuid7()), "--reason", "r"], "there is no dead letter"),
    ],
)
def test_wrong_use_of_dead_letters_has_an_exit_code_of_its_own(words, why):
    with pytest.raises(CommandError, match=why) as wrong:
        said("deadletters", *words)

    assert wrong.value.returncode == 2


def test_an_empty_reason_is_wrong_use(letters):
    _, [letter, *_], _ = letters
    for verb in ("resend", "discard"):
        words = [verb, letter.id, "--reason", " ", *(["--yes"] if verb == "discard" else [])]
        with pytest.raises(CommandError, match="Say why") as wrong:
            said("deadletters", *words)
        assert wrong.value.returncode == 2
    assert acts() == []


# -- the outbox ------------------------------------------------------------------------------------


def test_the_outbox_is_shown_and_drained(broker, settings):
    settings.SAGAS = {**settings.SAGAS, "RELAY_BATCH": 2}
    listen()
    tell(a_teller(), *"abcde")

    [shown] = document("outbox", "show", "--context", "orders")[0]["outbox"]
    assert (shown["context"], shown["unsent"], shown["attempts"]) == ("orders", 5, 0)
    assert shown["oldest"] is not None
    assert said("outbox", "show")[0].startswith("orders: 5 unsent since ")
    assert document("outbox", "drain", "--context", "orders") == (
        {"published": {"orders": 5}, "left": {"orders": 0}},
        0,
    )
    assert Outbox.objects.filter(published_at=None).count() == 0
    broker.drain()
    assert len(trial.effects()) == 5
    assert "orders: 0 published, 0 left" in said("outbox", "drain")[0]


def test_a_drain_that_leaves_something_says_so(monkeypatch):
    listen()
    tell(a_teller(), "a")
    monkeypatch.setattr(canvas, "publish", lambda _: False)

    text, code = said("outbox", "drain", "--context", "orders")

    assert (text, code) == ("orders: 0 published, 1 left\n", 1)


def test_a_context_that_is_none_is_wrong_use():
    with pytest.raises(CommandError, match="'shipping' is no context; there are orders") as wrong:
        said("outbox", "show", "--context", "shipping")

    assert wrong.value.returncode == 2


# -- parked sagas ----------------------------------------------------------------------------------

INSTEAD = "mend the cause and resume it"
BANK = "take: TimeoutError: the bank is silent for #s"


@pytest.fixture
def stuck(broker):
    """Two sagas that the bank stopped, and one that a person did."""
    sagas = [trial.begin(f"stuck-{number}") for number in range(3)]
    for number, saga_id in enumerate(sagas[:2]):
        reason = f"take: {number + 8} attempts, the last: TimeoutError: the bank is silent for 30s"
        stops.park(saga_id, reason=reason)
    stops.park(sagas[2], reason="looked at by hand")
    broker.take()
    return sagas


def test_parked_sagas_are_listed_by_what_stopped_them(stuck):
    causes, code = document("sagas", "list", "--status", "parked", "--by-cause")

    assert code == 0
    assert [(c["count"], c["name"], c["step"], c["cause"]) for c in causes["causes"]] == [
        (2, "orders.trial", "take", BANK),
        (1, "orders.trial", "take", "looked at by hand"),
    ]
    assert causes["causes"][0]["oldest"] == str(row(stuck[0]).parked_at)
    first, second = said("sagas", "list", "--by-cause")[0].splitlines()
    assert first.startswith("    2  orders.trial at forward:take  since ")
    assert first.endswith(BANK)
    assert "looked at by hand" in second
    nothing = said("sagas", "list", "--by-cause", "--name", "orders.nothing")
    assert nothing == ("no saga is parked\n", 0)


def test_a_step_that_nobody_knows_here_is_given_by_its_number(stuck, monkeypatch):
    monkeypatch.setattr(parked.registry, "SAGAS", {})

    assert {group.step for group in parked.groups()} == {"step 2"}


def test_the_sagas_of_one_cause_are_resumed_and_the_others_stay(stuck, broker):
    told, code = document("sagas", "resume", "--cause", BANK, "--reason", "the bank is back")

    assert (told["done"], told["refused"], code) == ([str(key) for key in stuck[:2]], [], 0)
    broker.drain()
    assert [row(key).status for key in stuck] == ["completed", "completed", "running"]
    assert row(stuck[2]).parked_at is not None
    again = said("sagas", "resume", "--cause", BANK, "--reason", "again")
    assert again == ("resume: 0 done, 0 refused\n", 1)


def test_the_sagas_of_one_cause_are_compensated_or_their_step_is_skipped(stuck, broker):
    assert said("sagas", "compensate", "--cause", BANK, "--reason", "fraud")[1] == 0
    skip = ("sagas", "skip", "--cause", "looked at by hand", "--reason", "taken by telephone")
    assert said(*skip, "--seen", "forward:take")[0].endswith("skip: 1 done, 0 refused\n")

    broker.drain()
    assert [row(key).status for key in stuck] == ["compensated", "compensated", "completed"]


def test_a_saga_whose_row_is_held_keeps_no_other_of_its_cause_from_an_act(stuck):
    resume = ("sagas", "resume", "--cause", BANK, "--reason", "the bank is back", "--by", "olga")
    with held(stuck[0]), short_patience():
        told, code = said(*resume)

    first, *others = told.splitlines()
    assert first.startswith(f"{stuck[0]}  refused: the database gave up (canceling statement due")
    assert (others, code) == ([f"{stuck[1]}  done", "resume: 1 done, 1 refused"], 1)
    assert [row(key).parked_at is None for key in stuck] == [False, True, False]
    assert acts() == [("resume", "olga", "done"), ("resume", "olga", "refused")]


def test_a_database_that_is_away_ends_an_act_on_a_group(stuck, monkeypatch):
    def away(*_, **__):
        raise OperationalError("connection refused")

    monkeypatch.setitem(terminal.ACTS, "resume", away)
    monkeypatch.setattr(OperatorAction.objects, "create", away)
    with pytest.raises(CommandError, match="the database does not answer") as ended:
        said("sagas", "resume", "--cause", BANK, "--reason", "the bank is back")
    assert ended.value.returncode == 2


def test_of_two_who_resume_a_group_at_once_each_saga_goes_on_once(stuck, broker):
    def press(who):
        words = ("--reason", "the bank is back", "--by", who)
        return lambda: document("sagas", "resume", "--cause", BANK, *words)

    (first, _), (second, _) = together(press("alice"), press("bob"))

    assert sorted(first["done"] + second["done"]) == [str(key) for key in sorted(stuck[:2])]
    asked = [(outcome, by) for _, by, outcome in acts()]
    assert sorted(outcome for outcome, _ in asked).count("done") == 2
    assert len(asked) == sum(len(each["done"] + each["refused"]) for each in (first, second))


@pytest.fixture
def meanwhile(stuck, monkeypatch):
    """Let a colleague do something while the first saga of a cause is seen to."""

    def faster(verb, act):
        done = terminal.ACTS[verb]

        def press(saga_id, **told):
            if saga_id == stuck[0]:
                act()
            return done(saga_id, **told)

        monkeypatch.setitem(terminal.ACTS, verb, press)

    return faster


def test_what_a_colleague_has_resumed_meanwhile_is_not_compensated_for_its_former_cause(
    stuck, broker, meanwhile
):
    meanwhile("compensate", lambda: orchestrator.resume(stuck[1], by="bob", reason="mended"))

    told, code = document("sagas", "compensate", "--cause", BANK, "--reason", "hopeless")

    assert (told["done"], told["refused"], code) == ([str(stuck[0])], [str(stuck[1])], 1)
    broker.drain()
    assert [row(key).status for key in stuck[:2]] == ["compensated", "completed"]


@pytest.mark.parametrize(
    "words", [("resume",), ("compensate",), ("skip", "--seen", "forward:take")]
)
def test_what_was_parked_again_meanwhile_for_something_else_is_left_parked(stuck, meanwhile, words):
    def again():
        assert orchestrator.resume(stuck[1], by="bob", reason="mended")
        assert orchestrator.park(stuck[1], by="bob", reason="fraud")

    meanwhile(words[0], again)

    told, code = document("sagas", *words, "--cause", BANK, "--reason", "the bank is back")

    assert (told["refused"], code) == ([str(stuck[1])], 1)
    left = row(stuck[1])
    assert (left.status, left.cursor, left.parked_reason) == ("running", 1, "fraud")


@pytest.mark.parametrize(
    "words",
    [
        ["resume", "--reason", "r"],
        ["resume", str(uuid7()), "--cause", "c", "--reason", "r"],
        ["park", "--reason", "r"],
        ["list", "--by-cause", "--status", "completed"],
    ],
)
def test_wrong_use_of_sagas_has_an_exit_code_of_its_own(words):
    with pytest.raises(CommandError, match=r"name either an id or a --cause|only parked") as wrong:
        said("sagas", *words)

    assert wrong.value.returncode == 2


# -- why it stands there ---------------------------------------------------------------------------


def test_a_parked_saga_says_why_since_when_what_next_and_what_can_be_done(stuck):
    shown, _ = document("sagas", "show", stuck[0])

    assert re.fullmatch(
        r"Parked .+ ago at step take: take: 8 attempts, the last: TimeoutError: the bank is silent"
        r" for 30s\. Nothing happens until a person acts, or its deadline compensates it in .+\."
        r" The point of no return \(capture\) is not reached: all of it can still be undone\.",
        shown["sentence"],
    )
    assert shown["acts"] == {
        "resume": None,
        "compensate": None,
        "skip": None,
        "park": "it is parked already",
    }
    text, _ = said("sagas", "show", stuck[0])
    sentence, possible = text.splitlines()[:2]
    assert sentence.startswith("Parked ")
    assert possible == "possible: resume, compensate, skip (not park: it is parked already)"


def test_past_the_point_of_no_return_only_a_person_helps(stuck):
    saga = row(stuck[0])
    saga.past_return = True

    assert "Nothing happens until a person acts. It is past" in outlook.sentence(saga)
    assert pressable.compensate(saga) == "it is past the point of no return"


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        (
            {"cursor": 2},
            f"its definition does not let hold be missed: {INSTEAD}, or compensate it",
        ),
        (
            {"cursor": 3},
            f"it stands at its pivot, which decides everything: {INSTEAD}, or compensate it",
        ),
        (
            {"cursor": 4, "past_return": True},
            f"its definition does not let book be missed: {INSTEAD}",
        ),
        ({"status": "compensating"}, None),
        ({"parked_at": None}, "it is not parked"),
        ({"def_version": 99}, "no release that runs here knows its definition"),
        ({"waiting_for": "lock:orders.order/1"}, "it waits for its turn, which cannot be skipped"),
        (
            {"pending": 2},
            "several steps side by side are left: choose one (a terminal takes --step)",
        ),
    ],
)
def test_a_skip_that_will_be_refused_says_why_before(stuck, facts, why):
    saga = row(stuck[0])
    for name, value in facts.items():
        setattr(saga, name, value)

    assert pressable.skip(saga) == why


def test_a_step_of_a_parked_saga_is_skipped_in_the_admin_and_the_audit_says_why(stuck):
    client = signed_in("administrator")
    found = client.get(reverse("admin:sagas_sagainstance_changelist"), {"cause": BANK})
    assert found.context["cl"].result_count == 2

    response = press(client, "sagas_sagainstance", "skip", stuck[0], reason="taken by hand")

    assert [outcome.refusal for outcome in response.context["outcomes"]] == [None]
    assert (row(stuck[0]).cursor, row(stuck[0]).parked_at) == (2, None)
    assert [(action, outcome) for action, _, outcome in acts()] == [("skip", "done")]
    again = press(client, "sagas_sagainstance", "skip", stuck[0], reason="taken by hand")
    assert [outcome.refusal for outcome in again.context["outcomes"]] == ["it is not parked"]


def letter_page(letter):
    return reverse("admin:sagas_deadletter_change", args=[letter.id])


def test_a_dead_letter_is_discarded_in_the_admin(letters):
    _, (first, _, other), _ = letters
    client = signed_in("administrator")
    page = reverse("admin:sagas_deadletter_changelist")
    assert client.get(page, {"cause": "ValueError: bad"}).context["cl"].result_count == 1

    story = "Nobody tries it again until it is resent or discarded. Later events of its aggregate"
    assert story in client.get(letter_page(other)).content.decode()
    DeadLetter.objects.filter(id=first.id).update(next_at="2126-01-01T00:00Z")
    assert "It is tried again in 3" in client.get(letter_page(first)).content.decode()

    response = press(client, "sagas_deadletter", "discard", other.id, reason="a test order")

    assert [outcome.refusal for outcome in response.context["outcomes"]] == [None]
    other.refresh_from_db()
    assert other.resolved_at is not None
    assert "billing is past it." in client.get(letter_page(other)).content.decode()
    assert acts()[0][::2] == ("discard", "done")


# -- what cannot begin -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words", ["sagas list", "deadletters list", "outbox show", f"sagas show {UUID(int=7)}"]
)
@pytest.mark.parametrize("lost", [OperationalError, InterfaceError])
def test_without_a_database_a_command_says_so_in_one_line(monkeypatch, words, lost):
    def away(*_):
        raise lost("connection refused\n\tIs the server running?")

    with monkeypatch.context() as gone:
        gone.setattr(CursorWrapper, "execute", away)
        with pytest.raises(CommandError) as told:
            call_command(*words.split())
    assert told.value.returncode == 2
    assert str(told.value) == (
        "the database does not answer (connection refused): is it up, and is DATABASE_URL right?"
    )


def told_of(monkeypatch, cause):
    """What a command says when its first question ends so."""

    def ended(*_):
        raise OperationalError(str(cause)) from cause

    with monkeypatch.context() as patched:
        patched.setattr(CursorWrapper, "execute", ended)
        with pytest.raises(CommandError) as told:
            call_command("sagas", "list")
    assert told.value.returncode == 2
    return str(told.value)


@pytest.mark.parametrize("cause", [errors.QueryCanceled, errors.LockNotAvailable, errors.DiskFull])
def test_a_database_that_gives_up_is_not_said_to_be_away(monkeypatch, cause):
    assert told_of(monkeypatch, cause("it took too long\nCONTEXT: a row")) == (
        "the database gave up (it took too long):"
        " try again; pg_stat_activity shows what is in the way"
    )


@pytest.mark.parametrize("cause", [errors.AdminShutdown, errors.ConnectionFailure])
def test_a_database_that_ends_the_connection_is_away(monkeypatch, cause):
    assert told_of(monkeypatch, cause("it ends")).startswith("the database does not answer")


def test_a_question_that_took_too_long_is_not_said_to_be_a_database_that_is_away(monkeypatch):
    long = "SELECT count(*) FROM generate_series(1, 1000000000)"
    monkeypatch.setattr("sagas.management.commands.projections.lags", lambda: rows(long))
    rows("SET statement_timeout = '50ms'")
    try:
        with pytest.raises(CommandError, match=r"gave up .*statement timeout"):
            call_command("projections", "lag")
    finally:
        rows("RESET statement_timeout")


@pytest.mark.parametrize(("limit", "said"), [("-1", "-1 is below zero"), ("x", "'x' is no number")])
def test_a_number_of_rows_that_is_none_is_refused(db, limit, said):
    with pytest.raises(CommandError, match=f"argument --limit: {said}"):
        call_command("sagas", "list", "--limit", limit)


def test_a_number_of_rows_that_no_list_has_is_all_of_them(broker):
    saga_id = trial.begin()

    told, code = said("sagas", "list", "--limit", "9" * 25)
    assert (told.startswith(str(saga_id)), code) == (True, 0)


def test_an_act_of_nobody_is_wrong_use(stuck):
    with pytest.raises(CommandError, match="by is empty: say who acts") as wrong:
        said("sagas", "resume", stuck[0], "--reason", "r", "--by", " ")
    assert (wrong.value.returncode, acts()) == (2, [])


@pytest.fixture
def seen_at_take(broker, settings):
    """A saga that somebody saw at its first step, and that one claim has brought further since."""
    settings.SAGAS = {**settings.SAGAS, "MAX_ATTEMPTS": 1}
    saw = []
    trial.SCRIPT["hold"] = raising(RuntimeError("down"))
    saga_id = trial.begin()
    trial.SCRIPT["take"] = lambda: saw.append(seen.look(row(saga_id)))
    broker.drain()
    saga = row(saga_id)
    assert (saga.parked_at is not None, seen.look(saga).step, saw[0].step) == (True, "hold", "take")
    assert seen.changed(saw[0], saga) is not None, "a skip would be refused"
    return saga_id, saw[0]


@pytest.mark.colocated
@pytest.mark.parametrize("act", ["resume", "compensate"])
def test_what_has_gone_on_under_one_token_is_not_as_it_was_seen(seen_at_take, act):
    saga_id, saw = seen_at_take
    assert not getattr(orchestrator, act)(saga_id, by="a", reason="b", seen=saw)
