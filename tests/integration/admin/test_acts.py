"""Resume, compensate, park and resend: previewed, with a reason, audited, and safe when doubled."""

from dataclasses import replace

import pytest
from django.db import OperationalError
from django.db.models import F
from django.db.models.functions import Now
from django.urls import reverse

from sagas.models import DeadLetter, OperatorAction, SagaInstance
from sagas.orchestration import orchestrator, registry, stops
from sagas.outbox import dead_letters, discarding, positions
from sagas.outbox.resending import resend_event
from sagas.reasons import ReasonMissing
from tests.integration.admin.world import (
    a_completed_saga,
    a_dead_letter,
    a_parked_saga,
    a_running_saga,
    a_saga_past_return,
    act_url,
    an_event,
    audit,
    go_on,
    look,
    press,
    row,
    saga_page,
    signed_in,
)
from tests.integration.sagas import trial
from tests.together import together

SAGA = "sagas_sagainstance"


def outcomes(response):
    return [outcome.refusal for outcome in response.context["outcomes"]]


def test_a_resumed_saga_goes_on_and_the_audit_says_who_and_why(broker):
    saga_id = a_parked_saga(broker)
    client = signed_in("operator")

    response = press(client, SAGA, "resume", saga_id, reason="the bank is back")

    assert outcomes(response) == [None]
    assert row(saga_id).parked_at is None
    [act] = OperatorAction.objects.all()
    assert (act.action, act.target_id, act.reason) == ("resume", str(saga_id), "the bank is back")
    assert act.by == response.wsgi_request.user.get_username()
    go_on(saga_id, broker)
    assert row(saga_id).status == "completed"


@pytest.mark.parametrize("reason", ["", "   ", "x" * 501])
def test_without_a_reason_nothing_happens(reason, broker):
    saga_id = a_parked_saga(broker)

    response = press(signed_in("operator"), SAGA, "resume", saga_id, reason=reason)

    assert response.status_code == 422
    assert b"Say why" in response.content or b"at most 500" in response.content
    assert row(saga_id).parked_at is not None
    assert audit() == []


def test_looking_at_the_preview_changes_nothing(broker):
    saga_id = a_parked_saga(broker)
    before = row(saga_id).fencing_token

    page = signed_in("operator").get(act_url(SAGA, "resume"), {"id": str(saga_id)})

    assert b"3/5 hold" in page.content
    assert (row(saga_id).fencing_token, audit()) == (before, [])


def test_the_preview_of_a_compensation_names_what_is_undone_in_order(broker):
    saga_id = a_parked_saga(broker)

    page = signed_in("administrator").get(act_url(SAGA, "compensate"), {"id": str(saga_id)})

    [target] = page.context["targets"]
    assert [line.partition(" ")[0] for line in target.preview] == ["hold", "take", "open"]


def test_the_preview_of_a_compensation_names_a_call_that_was_skipped_and_is_undone(
    broker, monkeypatch
):
    steps = tuple(
        replace(step, keep=None, skippable=step.name == "hold") for step in trial.TRIAL.steps
    )
    missable = replace(trial.TRIAL, steps=steps)
    monkeypatch.setitem(registry.SAGAS, (missable.name, 1), missable)
    saga_id = a_parked_saga(broker)
    assert orchestrator.skip(saga_id, by="bob", reason="settled by telephone") is True

    client = signed_in("administrator")
    [target] = client.get(act_url(SAGA, "compensate"), {"id": str(saga_id)}).context["targets"]

    assert "hold is closed for good, and undone if it took effect." in target.preview
    press(client, SAGA, "compensate", saga_id)
    broker.drain()
    assert trial.CALLS == ["hold", "release"]


def test_two_presses_one_after_the_other_resume_once(broker):
    saga_id = a_parked_saga(broker)
    client = signed_in("operator")
    seen = look(client, SAGA, "resume", saga_id)

    first = press(client, SAGA, "resume", saga_id, seen=seen)
    second = press(client, SAGA, "resume", saga_id, seen=seen)

    assert (outcomes(first), outcomes(second)) == ([None], ["it is not parked"])
    assert b"Refused: it is not parked" in second.content
    assert audit() == [("resume", "done"), ("resume", "refused")]


def test_two_presses_at_the_same_moment_resume_once(broker):
    saga_id = a_parked_saga(broker)
    token = row(saga_id).fencing_token
    clients = [signed_in("operator"), signed_in("administrator")]
    seen = look(clients[0], SAGA, "resume", saga_id)

    pressed = together(
        *[lambda c=client: press(c, SAGA, "resume", saga_id, seen=seen) for client in clients]
    )

    # Not from the context of the template: the test client hears the renders of both threads.
    assert sorted(b"Refused: " in response.content for response in pressed) == [False, True]
    assert row(saga_id).fencing_token == token + 1
    assert sorted(audit()) == [("resume", "done"), ("resume", "refused")]


def test_a_saga_that_was_parked_again_meanwhile_is_not_resumed_on_an_old_look(broker):
    saga_id = a_parked_saga(broker)
    client = signed_in("operator")
    seen = look(client, SAGA, "resume", saga_id)
    orchestrator.resume(saga_id, by="somebody else", reason="first try")
    stops.park(saga_id, reason="another trouble")

    response = press(client, SAGA, "resume", saga_id, seen=seen)

    [refusal] = outcomes(response)
    assert "moved on" in refusal
    assert row(saga_id).parked_reason == "another trouble"
    assert audit() == [("resume", "done"), ("resume", "refused")]


def test_what_a_colleague_has_resumed_meanwhile_is_not_compensated_on_an_old_look(broker):
    saga_id = a_parked_saga(broker)
    client = signed_in("administrator")
    seen = look(client, SAGA, "compensate", saga_id)
    orchestrator.resume(saga_id, by="somebody else", reason="mended")

    [refusal] = outcomes(press(client, SAGA, "compensate", saga_id, seen=seen))

    assert "moved on" in refusal
    go_on(saga_id, broker)
    assert row(saga_id).status == "completed"


def test_what_is_resumed_at_the_moment_of_the_press_is_not_compensated(broker, monkeypatch):
    saga_id = a_parked_saga(broker)
    compensate = orchestrator.compensate

    def late(saga_id, **told):
        orchestrator.resume(saga_id, by="somebody else", reason="mended")
        return compensate(saga_id, **told)

    monkeypatch.setattr(orchestrator, "compensate", late)
    [refusal] = outcomes(press(signed_in("administrator"), SAGA, "compensate", saga_id))

    assert "moved on" in refusal
    assert (row(saga_id).status, row(saga_id).parked_at) == ("running", None)


def test_a_worker_that_has_claimed_it_meanwhile_is_in_nobodys_way(broker):
    saga_id = a_running_saga()
    client = signed_in("administrator")
    seen = look(client, SAGA, "compensate", saga_id)
    SagaInstance.objects.update(fencing_token=F("fencing_token") + 1)

    assert outcomes(press(client, SAGA, "compensate", saga_id, seen=seen)) == [None]
    assert row(saga_id).status == "compensating"


def test_past_the_point_of_no_return_nothing_is_compensated(broker):
    saga_id = a_saga_past_return(broker)

    response = press(signed_in("administrator"), SAGA, "compensate", saga_id)

    assert outcomes(response) == ["it is past the point of no return"]
    assert row(saga_id).status == "running"
    assert audit() == [("compensate", "refused")]


def test_a_saga_that_passes_it_between_look_and_press_is_refused(broker):
    saga_id = a_running_saga()
    client = signed_in("administrator")
    seen = look(client, SAGA, "compensate", saga_id)
    broker.drain()

    response = press(client, SAGA, "compensate", saga_id, seen=seen)

    assert outcomes(response) == ["it has ended (completed)"]
    assert row(saga_id).status == "completed"


def test_an_act_on_a_selection_says_for_each_how_it_went(broker):
    parked, done = a_parked_saga(broker), a_completed_saga(broker)
    client = signed_in("operator")
    url = reverse(f"admin:{SAGA}_changelist")
    chosen = {"action": "resume", "_selected_action": [str(parked), str(done)]}

    page = client.post(url, chosen)
    assert page.context["possible"] == 1
    seen = [f"{target.key}|{target.mark}" for target in page.context["targets"]]
    response = press(client, SAGA, "resume", seen=seen)

    assert outcomes(response) == [None, "it has ended (completed)"]
    assert row(parked).parked_at is None


def test_what_was_never_there_is_refused_and_not_an_error():
    client = signed_in("operator")

    response = press(
        client, SAGA, "resume", seen=["nonsense|x", "01999999-0000-7000-8000-000000000000|x", "y"]
    )

    assert outcomes(response) == ["it is gone", "it is gone"]
    assert SagaInstance.objects.count() == 0


def test_buttons_that_cannot_be_pressed_say_why(broker):
    saga_id = a_saga_past_return(broker)

    def refusals(role):
        page = signed_in(role).get(saga_page(saga_id))
        return [button.refusal for button in page.context["buttons"]]

    assert refusals("administrator") == [
        "",
        "it is past the point of no return",
        "its definition does not let book be missed: mend the cause and resume it",
        "it is parked already",
    ]
    assert refusals("viewer") == ["your account may not do this"] * 4


def test_a_resolved_dead_letter_is_not_resent(broker):
    letter = a_dead_letter()
    client = signed_in("operator")
    seen = look(client, "sagas_deadletter", "resend", letter.id)
    dead_letters.settle("billing", [letter.event_id])

    response = press(client, "sagas_deadletter", "resend", letter.id, seen=seen)

    assert outcomes(response) == ["it is resolved already"]
    assert (broker.take(), audit()) == ([], [("resend", "refused")])


def test_two_who_resend_a_dead_letter_at_the_same_moment_do_it_once(broker):
    letter = a_dead_letter()
    clients = [signed_in("operator"), signed_in("administrator")]
    seen = look(clients[0], "sagas_deadletter", "resend", letter.id)

    pressed = together(
        *[
            lambda c=client: press(c, "sagas_deadletter", "resend", letter.id, seen=seen)
            for client in clients
        ]
    )

    refused = b"Refused: it was sent again already and has not failed since"
    assert sorted(refused in response.content for response in pressed) == [False, True]
    assert sorted(audit()) == [("resend", "done"), ("resend", "refused")]
    assert len(broker.take()) == 1


@pytest.mark.parametrize("act", ["resend", "discard"])
def test_a_letter_that_another_has_sent_since_one_looked_is_left_alone(broker, act):
    letter = a_dead_letter()
    client = signed_in("administrator")
    seen = look(client, "sagas_deadletter", act, letter.id)
    assert dead_letters.resend(letter.id, by="bob", reason="mended")
    broker.take()
    DeadLetter.objects.update(attempts=5, next_at=None, last_at=Now(), reason="another fault")

    [refusal] = outcomes(press(client, "sagas_deadletter", act, letter.id, seen=seen))
    assert "moved on" in refusal
    assert (broker.take(), audit()) == ([], [("resend", "done"), (act, "refused")])
    assert DeadLetter.objects.get().resolved_at is None


def test_a_letter_that_is_tried_by_itself_and_fails_as_before_may_be_resent_all_the_same(broker):
    letter = a_dead_letter()
    client = signed_in("operator")
    DeadLetter.objects.update(attempts=1, next_at=Now(), reason="timed out after 3.1 s\r\nagain")
    seen = look(client, "sagas_deadletter", "resend", letter.id)
    DeadLetter.objects.update(attempts=2, last_at=Now(), reason="timed out after 3.2 s\r\nagain")

    assert outcomes(press(client, "sagas_deadletter", "resend", letter.id, seen=seen)) == [None]
    assert "\r" not in seen[0], "which a form would turn into two signs"


def test_a_letter_of_a_context_whose_database_is_away_is_shown_and_resent(broker, monkeypatch):
    letter = a_dead_letter()
    client = signed_in("administrator")

    def gone(*_):
        raise OperationalError("connection refused")

    monkeypatch.setattr(positions, "position", gone)
    page = client.get(reverse("admin:sagas_deadletter_change", args=[letter.id]))
    assert [button.refusal for button in page.context["buttons"]] == [
        "",
        "the database of billing does not answer",
    ]
    assert outcomes(press(client, "sagas_deadletter", "resend", letter.id)) == [None]


def test_a_context_whose_database_is_away_keeps_no_letter_of_another_from_an_act(
    broker, monkeypatch
):
    away, other = a_dead_letter(), a_dead_letter(context="payments")
    go_past = discarding.pass_over

    def gone(letter):
        if letter.context == "billing":
            raise OperationalError("connection refused")
        return go_past(letter)

    monkeypatch.setattr(discarding, "pass_over", gone)
    client = signed_in("administrator")
    response = press(client, "sagas_deadletter", "discard", away.id, other.id)

    assert outcomes(response) == ["its database did not answer; look again, then decide", None]
    assert DeadLetter.objects.get(resolved_at=None).id == away.id
    assert audit() == [("discard", "refused"), ("discard", "done")]


def test_a_letter_that_failed_again_may_be_resent_again(broker):
    letter = a_dead_letter()
    client = signed_in("operator")
    assert outcomes(press(client, "sagas_deadletter", "resend", letter.id)) == [None]
    DeadLetter.objects.filter(id=letter.id).update(attempts=1)

    assert outcomes(press(client, "sagas_deadletter", "resend", letter.id)) == [None]


def test_two_who_resend_an_event_at_the_same_moment_do_it_once(broker):
    event = an_event()
    broker.take()
    clients = [signed_in("operator"), signed_in("administrator")]
    seen = look(clients[0], "orders_outbox", "resend", event.position)

    pressed = together(
        *[
            lambda c=client: press(c, "orders_outbox", "resend", event.position, seen=seen)
            for client in clients
        ]
    )

    assert sorted(b"Refused: " in response.content for response in pressed) == [False, True]
    assert sorted(audit()) == [("resend", "done"), ("resend", "refused")]
    event.refresh_from_db()
    assert event.attempts == int(seen[0].partition("|")[2]) + 1


def test_an_event_that_was_sent_since_one_looked_is_not_resent(broker):
    event = an_event()
    broker.take()

    pressed = [
        resend_event("orders", event.id, by=who, reason="lost", seen=event.attempts)
        for who in ("alice", "bob")
    ]

    assert pressed == [True, False]
    assert audit() == [("resend", "done"), ("resend", "refused")]


def test_an_event_that_nobody_listens_to_is_not_resent(broker, monkeypatch):
    event = an_event()
    broker.take()
    monkeypatch.setattr("sagas.outbox.subscriptions.SUBSCRIPTIONS", {})

    response = press(signed_in("operator"), "orders_outbox", "resend", event.position)

    assert outcomes(response) == ["no context listens to it"]
    assert (broker.take(), audit()) == ([], [("resend", "refused")])


def test_resending_an_event_needs_a_reason_and_a_row(broker):
    event = an_event()
    broker.take()

    with pytest.raises(ReasonMissing):
        resend_event("orders", event.id, by="alice", reason=" ", seen=event.attempts)
    assert audit() == []
    event.delete()
    assert resend_event("orders", event.id, by="alice", reason="lost", seen=event.attempts) is False
    assert (broker.take(), audit()) == ([], [("resend", "refused")])


def test_a_resent_event_is_applied_once(broker):
    event = an_event()
    client = signed_in("operator")
    for _ in range(2):
        press(client, "orders_outbox", "resend", event.position)
    broker.drain()

    page = client.get(reverse("admin:orders_outbox_change", args=[event.position]))
    assert page.content.count(b"applied") == 2, "by billing and by orders"
    from billing.models import BillingAccount, Inbox

    assert Inbox.objects.filter(event_id=event.id).count() == 1
    assert BillingAccount.objects.count() == 1
