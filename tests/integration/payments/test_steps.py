from functools import partial

import pytest

from payments import api
from payments.gateway import ProviderBusy, ProviderDefect
from payments.inquiry import CapturedMeanwhile
from payments.models import Payment, PaymentOperation
from payments.operations import OperationResolved
from payments.services import PaymentMoved
from sagas.api import Rejected, Unknown, transaction, uuid7
from tests.integration.payments.driving import Driver

pytestmark = pytest.mark.usefixtures("committed_db", "provider")


def to_capture(driver):
    driver.prepare()
    driver.authorize()
    return driver


def test_a_payment_is_prepared_authorized_and_captured(provider):
    driver = Driver(amount=1234)
    replies = [driver.prepare(), driver.authorize(), driver.capture()]

    payment = driver.payment
    assert driver.money == ("captured", 1234, 1234, 0)
    assert replies[2] == api.CapturedPayment(
        payment_id=payment.id, captured_at=payment.captured_at, provider_ref=payment.provider_ref
    )
    assert driver.operations() == [
        ("prepare", "succeeded"),
        ("authorize", "succeeded"),
        ("capture", "succeeded"),
    ]
    assert driver.events() == ["PaymentAuthorized", "PaymentCaptured"]
    assert provider.intent(payment.provider_ref)["reference"] == str(payment.id)
    assert [call["operation"] for call in provider.calls(reference=payment.id)][:3] == [
        "prepare",
        "confirm",
        "capture",
    ]


def test_the_operation_is_written_before_the_call_is_made(provider):
    driver = to_capture(Driver())
    command = api.CapturePayment(payment_id=driver.payment_id)

    with driver.attempt(command) as attempt:
        attempt.intend()

    operation = driver.operation("capture")
    assert operation.status == "sent"
    assert operation.idempotency_key == f"{driver.saga_id}:capture_payment:do:0"
    assert provider.calls(operation="capture") == []


def test_a_decline_is_recorded_and_told():
    driver = Driver(card="card_insufficient_funds")
    driver.prepare()

    with pytest.raises(Rejected, match="insufficient_funds"):
        driver.authorize()

    operation = driver.operation("authorize")
    assert driver.money == ("failed", 0, 0, 0)
    assert (operation.status, operation.decline_code) == ("declined", "insufficient_funds")
    assert operation.negatives == 1
    assert driver.events() == ["PaymentDeclined"]


def test_a_declined_payment_is_still_closed_at_the_provider(provider):
    driver = Driver(card="card_declined")
    driver.prepare()
    with pytest.raises(Rejected):
        driver.authorize()

    driver.void()
    driver.close()

    assert provider.intent(driver.payment.provider_ref)["status"] == "canceled"
    assert driver.money == ("failed", 0, 0, 0)
    assert driver.events() == ["PaymentDeclined"]
    # The second undo finds the provider's confirmation and does not call again.
    assert len(provider.calls(operation="cancel")) == 1


@pytest.mark.parametrize("action", ["error_after", "hang_after", "drop_after"])
@pytest.mark.parametrize("step", ["prepare", "authorize", "capture"])
def test_a_lost_answer_is_asked_for_and_nothing_is_done_twice(provider, step, action):
    driver = Driver()
    operations = {"prepare": "prepare", "authorize": "confirm", "capture": "capture"}
    provider.fault(action, operation=operations[step])
    before = {"prepare": (), "authorize": ("prepare",), "capture": ("prepare", "authorize")}
    for earlier in before[step]:
        getattr(driver, earlier)()

    with pytest.raises(Unknown):
        getattr(driver, step)()
    unresolved = driver.operation(step)
    getattr(driver, step)()

    assert unresolved.status == "sent"
    assert driver.operation(step).status == "succeeded"
    assert driver.operation(step).inquiries == 1
    # The answer came from the inquiry: the call itself went out once.
    assert len(provider.calls(operation=operations[step])) == 1
    assert provider.executed(operations[step]) == 1


@pytest.mark.parametrize("action", ["error_before", "hang_before", "drop_before"])
@pytest.mark.parametrize("step", ["prepare", "authorize", "capture"])
def test_a_call_that_never_arrived_is_repeated_under_the_same_key(provider, step, action):
    driver = Driver()
    operations = {"prepare": "prepare", "authorize": "confirm", "capture": "capture"}
    provider.fault(action, operation=operations[step])
    before = {"prepare": (), "authorize": ("prepare",), "capture": ("prepare", "authorize")}
    for earlier in before[step]:
        getattr(driver, earlier)()

    with pytest.raises(Unknown):
        getattr(driver, step)()
    getattr(driver, step)()

    calls = provider.calls(operation=operations[step])
    assert [call["executed"] for call in calls] == [False, True]
    assert len({call["key"] for call in calls}) == 1


def test_an_operation_without_an_answer_is_unknown_from_the_second_attempt():
    driver = to_capture(Driver())
    command = api.CapturePayment(payment_id=driver.payment_id)
    with driver.attempt(command) as attempt:
        first = attempt.intend().intent
        second = attempt.intend().intent

    assert (first.ask_first, second.ask_first) == (False, True)
    assert first.call == second.call
    assert driver.operation("capture").status == "unknown"


def test_a_busy_provider_is_a_fault_and_changes_nothing(provider):
    driver = to_capture(Driver())
    provider.fault("busy", operation="capture")

    with pytest.raises(ProviderBusy):
        driver.capture()
    driver.capture()

    assert driver.money == ("captured", 1000, 1000, 0)
    assert driver.operation("capture").negatives == 0


def test_no_money_is_asked_for_that_is_not_held(provider):
    """Before the point of no return: the transaction that would pass it is this one."""
    driver = Driver()
    driver.prepare()

    with pytest.raises(PaymentMoved, match="is created, so no money is held to take"):
        driver.capture()

    assert provider.calls(operation="capture") == []


def test_a_refused_capture_is_made_final_before_it_is_recorded(provider):
    driver = to_capture(Driver(card="card_capture_declined"))

    with pytest.raises(Rejected, match="generic_decline"):
        driver.capture()

    assert provider.intent(driver.payment.provider_ref)["status"] == "canceled"
    assert driver.money == ("voided", 1000, 0, 1000)
    assert driver.payment.closed_at is not None
    assert driver.operations()[2:] == [("capture", "declined"), ("void", "succeeded")]
    assert driver.events() == ["PaymentAuthorized", "PaymentVoided"]
    driver.void()
    driver.close()
    assert len(provider.calls(operation="cancel")) == 1
    assert driver.events() == ["PaymentAuthorized", "PaymentVoided"]


def test_a_refusal_that_turns_out_to_be_a_capture_goes_forward(provider):
    # A worker froze before its capture; another was refused, and cancels. The first one thaws.
    driver = to_capture(Driver())
    provider.fault("decline", operation="capture")
    command = api.CapturePayment(payment_id=driver.payment_id)

    with driver.attempt(command) as attempt:
        attempt.intend()
        with pytest.raises(Rejected):
            attempt.call()
        provider.post(f"/v1/intents/{driver.payment.provider_ref}/capture", key="the-thawed-one")
        outcome = attempt.close()
        attempt.record(outcome)

    assert outcome.captured == 1000
    assert driver.money == ("captured", 1000, 1000, 0)


def test_no_capture_that_thaws_after_the_final_no_moves_money(provider):
    driver = to_capture(Driver(card="card_capture_declined"))
    with pytest.raises(Rejected):
        driver.capture()
    ref = driver.payment.provider_ref

    late = [
        provider.post(f"/v1/intents/{ref}/capture", key=key)
        for key in (driver.operation("capture").idempotency_key, "another", "")
    ]

    assert [answer.status for answer in late] == [402, 409, 409]
    assert provider.get("/v1/balance").body["captured"] == {"GBP": 0}


@pytest.mark.parametrize("action", ["error_after", "hang_after", "error_before"])
def test_making_a_refusal_final_survives_a_lost_answer(provider, action):
    driver = to_capture(Driver(card="card_capture_declined"))
    provider.fault(action, operation="cancel")

    with pytest.raises(Unknown):
        driver.capture()
    with pytest.raises(Rejected, match="generic_decline"):
        driver.capture()

    assert provider.executed("cancel") == 1
    assert driver.money == ("voided", 1000, 0, 1000)


def test_a_hold_is_let_go(provider):
    driver = to_capture(Driver())

    driver.void()
    driver.close()

    assert provider.intent(driver.payment.provider_ref)["status"] == "canceled"
    assert driver.money == ("voided", 1000, 0, 1000)
    assert driver.events() == ["PaymentAuthorized", "PaymentVoided"]
    assert provider.get("/v1/balance").body["authorized_open"] == {"GBP": 0}


def test_a_hold_whose_answer_was_lost_is_let_go_and_told(provider):
    driver = Driver()
    driver.prepare()
    provider.fault("drop_after", operation="confirm")
    with pytest.raises(Unknown):
        driver.authorize()

    driver.void()

    assert driver.money == ("voided", 1000, 0, 1000)
    assert driver.events() == ["PaymentVoided"]
    assert provider.get("/v1/balance").body["authorized_open"] == {"GBP": 0}


def test_a_confirm_that_arrives_after_the_void_holds_nothing(provider):
    driver = Driver()
    driver.prepare()
    provider.fault("hang_before", operation="confirm")
    with pytest.raises(Unknown):
        driver.authorize()
    driver.void()

    key = driver.operation("authorize").idempotency_key
    late = provider.post(f"/v1/intents/{driver.payment.provider_ref}/confirm", key=key)

    assert (late.status, late.code) == (409, "canceled")
    assert driver.money == ("failed", 0, 0, 0)


def test_a_void_that_is_told_captured_is_a_fault_and_never_nothing_to_do(provider):
    driver = to_capture(Driver())
    provider.post(f"/v1/intents/{driver.payment.provider_ref}/capture", key="elsewhere")

    for undo in (driver.void, driver.void, driver.close):
        with pytest.raises(CapturedMeanwhile):
            undo()

    assert driver.money == ("authorized", 1000, 0, 0)


@pytest.mark.parametrize("action", ["error_after", "hang_after", "drop_before"])
def test_a_void_is_repeated_until_it_is_answered(provider, action):
    driver = to_capture(Driver())
    provider.fault(action, operation="cancel")

    with pytest.raises(Unknown):
        driver.void()
    driver.void()

    assert provider.executed("cancel") == 1
    assert driver.money == ("voided", 1000, 0, 1000)


def test_a_payment_is_closed_that_was_prepared_without_our_knowing(provider):
    driver = Driver()
    provider.fault("drop_after", operation="prepare")
    with pytest.raises(Unknown):
        driver.prepare()
    assert driver.payment.provider_ref is None

    driver.close()

    opened = provider.get(f"/v1/intents?reference={driver.payment_id}").body["data"]
    assert [intent["status"] for intent in opened] == ["canceled"]
    assert driver.money == ("failed", 0, 0, 0)


def test_where_nothing_was_prepared_there_is_nothing_to_cancel(provider):
    driver = Driver()
    provider.fault("hang_before", operation="prepare")
    with pytest.raises(Unknown):
        driver.prepare()

    driver.close()

    assert provider.calls(operation="cancel") == []
    assert driver.money == ("failed", 0, 0, 0)
    assert driver.operations() == [("prepare", "sent"), ("void", "succeeded")]


def test_an_order_has_one_payment_that_counts():
    first = Driver()
    first.prepare()
    second = Driver(order_id=first.order_id)

    with pytest.raises(Exception, match="payments_payment_one_live"):
        second.prepare()
    first.close()
    second.prepare()

    assert Payment.objects.filter(purpose_id=first.order_id, live=True).count() == 1


@pytest.mark.parametrize("whose", ["nobody", "stranger", "forgotten"])
def test_a_method_that_is_not_the_customers_is_refused(provider, whose):
    driver = Driver()
    if whose == "nobody":
        driver.method_id = uuid7()
    elif whose == "stranger":
        driver.method_id = Driver().method_id
    else:
        api.forget_method(driver.customer_id, driver.method_id)

    with pytest.raises(Rejected, match="payment_method_gone"):
        driver.prepare()
    driver.close()

    assert driver.money == ("failed", 0, 0, 0)
    assert provider.calls(operation="prepare") == []


def test_an_intent_over_another_amount_is_a_defect(provider):
    driver = Driver(amount=1000)
    provider.fault("error_before", operation="prepare")
    with pytest.raises(Unknown):
        driver.prepare()
    provider.prepare(amount=999, reference=str(driver.payment_id))

    with pytest.raises(ProviderDefect):
        driver.prepare()

    assert driver.payment.provider_ref is None


def test_an_answer_is_recorded_once():
    driver = to_capture(Driver())
    command = api.CapturePayment(payment_id=driver.payment_id)
    with driver.attempt(command) as attempt:
        attempt.intend()
        outcome = attempt.call()
        attempt.record(outcome)

        for again in (partial(attempt.record, outcome), attempt.intend):
            with pytest.raises(OperationResolved):
                again()

    assert driver.events() == ["PaymentAuthorized", "PaymentCaptured"]


def test_a_captured_payment_is_never_closed():
    driver = to_capture(Driver())
    driver.capture()
    from payments import services

    with pytest.raises(PaymentMoved), transaction("payments"):
        services.close(driver.payment, released=0)

    assert driver.money == ("captured", 1000, 1000, 0)


def test_a_payment_is_shown_to_others(provider):
    driver = to_capture(Driver())
    view = api.payment_for_order(driver.order_id)

    assert (view.id, view.status, view.open_hold) == (driver.payment_id, "authorized", 1000)
    assert (view.brand, view.last4) == ("Visa", "4242")
    assert api.payment_for_order(uuid7()) is None
    assert PaymentOperation.objects.count() == 2
