import pytest
from django.db import Error, IntegrityError
from django.db.models import F

from payments.models import Payment, PaymentMethod, PaymentOperation
from sagas.api import clock, connection_of, uuid7

pytestmark = pytest.mark.django_db


@pytest.fixture
def payment():
    method = PaymentMethod.objects.create(
        customer_id=uuid7(), token="card_good", brand="Visa", last4="4242", label="", kind="good"
    )
    return Payment.objects.create(
        purpose_id=uuid7(),
        customer_id=method.customer_id,
        method=method,
        currency="GBP",
        amount=100,
    )


def change(payment, **values):
    Payment.objects.filter(id=payment.id).update(**values)


HELD = {"status": "authorized", "authorized": 100}
TAKEN = {**HELD, "status": "captured", "captured": 100, "captured_at": clock.real()}


@pytest.mark.parametrize(
    ("values", "constraint"),
    [
        ({**HELD, "authorized": 101}, "payments_payment_authorized"),
        ({**TAKEN, "captured": 101}, "payments_payment_captured"),
        ({**TAKEN, "voided": 1}, "payments_payment_captured"),
        ({**TAKEN, "refunded": 101}, "payments_payment_refunded"),
        ({**TAKEN, "refunded": -1}, "payments_payment_refunded"),
        ({"status": "captured"}, "payments_payment_status"),
        ({"authorized": 100}, "payments_payment_status"),
        ({**TAKEN, "captured_at": None}, "payments_payment_status"),
        ({"status": "failed"}, "payments_payment_live"),
        ({"status": "voided", "live": False}, "payments_payment_status"),
        ({**HELD, "status": "failed", "live": False}, "payments_payment_status"),
        ({**HELD, "status": "voided", "live": False, "voided": 99}, "payments_payment_status"),
        ({"status": "lost"}, "payments_payment_"),
        ({"live": False}, "payments_payment_live"),
        ({"currency": "gbp"}, "payments_payment_currency"),
        ({"amount": 0}, "payments_payment_amount"),
    ],
)
def test_the_database_refuses_impossible_money(payment, values, constraint):
    with pytest.raises(IntegrityError, match=constraint):
        change(payment, **values)


@pytest.mark.parametrize(
    "values",
    [
        HELD,
        TAKEN,
        {**TAKEN, "refunded": 100},
        {"status": "failed", "live": False},
        {**HELD, "status": "voided", "live": False, "voided": F("amount")},
    ],
)
def test_the_database_lets_possible_money_in(payment, values):
    change(payment, **values)


def test_a_purpose_has_one_payment_that_counts(payment):
    change(payment, status="failed", live=False)
    again = Payment.objects.create(
        purpose_id=payment.purpose_id, customer_id=uuid7(), currency="GBP", amount=1
    )

    with pytest.raises(IntegrityError, match="payments_payment_one_live"):
        Payment.objects.create(
            purpose_id=again.purpose_id, customer_id=uuid7(), currency="GBP", amount=1
        )


def test_a_providers_name_belongs_to_one_payment(payment):
    change(payment, provider_ref="in_1")

    with pytest.raises(IntegrityError, match="payments_payment_provider_ref"):
        Payment.objects.create(
            purpose_id=uuid7(),
            customer_id=uuid7(),
            currency="GBP",
            amount=1,
            provider_ref="in_1",
        )


def operation(payment, **values):
    return PaymentOperation.objects.create(
        **{
            "payment": payment,
            "kind": "capture",
            "amount": 100,
            "effect_key": "saga:capture:do",
            "idempotency_key": "saga:capture:do:0",
            "sent_at": clock.real(),
            **values,
        }
    )


RESOLVED = {"status": "succeeded", "resolved_at": clock.real()}
DECLINED = {"status": "declined", "negatives": 1, "resolved_at": clock.real()}


@pytest.mark.parametrize("answer", [RESOLVED, DECLINED])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE payments_paymentoperation SET status = 'unknown', resolved_at = NULL",
        "UPDATE payments_paymentoperation SET negatives = negatives + 1",
        "UPDATE payments_paymentoperation SET decline_code = 'other'",
        "DELETE FROM payments_paymentoperation",
    ],
)
def test_a_recorded_answer_never_changes(payment, answer, statement):
    operation(payment, **answer)

    with pytest.raises(Error, match="never changes"), connection_of("payments").cursor() as cursor:
        cursor.execute(statement)


@pytest.mark.parametrize(
    ("key", "negatives"),
    [("saga:capture:do:1", 0), ("saga:capture:do:2", 1), ("other:1", 1), ("saga:capture:do:2", 2)],
)
def test_a_new_key_counts_one_refusal_more_and_says_so(payment, key, negatives):
    mine = PaymentOperation.objects.filter(id=operation(payment).id)

    with pytest.raises(Error, match="never changes"):
        mine.update(idempotency_key=key, negatives=negatives)


def test_a_refusal_that_is_counted_is_never_forgotten(payment):
    mine = PaymentOperation.objects.filter(id=operation(payment).id)

    assert mine.update(idempotency_key="saga:capture:do:1", negatives=1) == 1
    with pytest.raises(Error, match="never changes"):
        mine.update(negatives=0)


@pytest.mark.parametrize("column", ["amount", "effect_key", "idempotency_key", "kind"])
def test_what_was_sent_never_changes(payment, column):
    row = operation(payment)

    with pytest.raises(Error, match="never changes"):
        PaymentOperation.objects.filter(id=row.id).update(**{column: 7})


def test_an_open_operation_is_resolved_once(payment):
    row = operation(payment)
    mine = PaymentOperation.objects.filter(id=row.id)

    assert mine.update(status="unknown") == 1
    assert mine.update(**RESOLVED) == 1


@pytest.mark.parametrize(
    "values",
    [
        {"status": "succeeded"},
        {"status": "sent", "resolved_at": clock.real()},
        {"status": "declined", "resolved_at": clock.real(), "negatives": 0},
        {"status": "lost"},
    ],
)
def test_an_operation_says_when_it_was_answered(payment, values):
    with pytest.raises(IntegrityError, match="payments_operation_status"):
        operation(payment, **values)


def test_an_effect_has_one_operation(payment):
    operation(payment)

    with pytest.raises(IntegrityError, match="payments_operation_once"):
        operation(payment, kind="void")
