"""The checkout as data: its order, what undoes what, and the commands it makes."""

from dataclasses import replace

from billing import api as billing
from orders.sagas.checkout import CHECKOUT, CheckoutState, keep_invoice
from sagas.core import codec
from sagas.ids import uuid7

STATE = CheckoutState(
    order_id=uuid7(),
    customer_id=uuid7(),
    payment_id=uuid7(),
    payment_method_id=uuid7(),
    amount=1530,
    currency="GBP",
)


def test_the_steps_come_in_their_order():
    assert [(step.name, step.kind.value) for step in CHECKOUT.steps] == [
        ("place_order", "begun"),
        ("reserve_stock", "compensatable"),
        ("prepare_payment", "compensatable"),
        ("authorize_payment", "compensatable"),
        ("capture_payment", "pivot"),
        ("issue_invoice", "retriable"),
        ("confirm_order", "retriable"),
        ("notify_customer", "retriable"),
    ]


def test_each_step_is_carried_out_by_the_context_that_owns_its_effect():
    assert CHECKOUT.contexts == (
        "orders",
        "orders",
        "payments",
        "payments",
        "payments",
        "billing",
        "orders",
        "orders",
    )


def test_what_could_be_done_before_the_pivot_is_undone_by_name():
    undos = {step.name: step.undo(STATE).name for step in CHECKOUT.steps if step.undo}

    assert undos == {
        "place_order": "orders.FailOrder",
        "reserve_stock": "orders.ReleaseStock",
        "prepare_payment": "payments.ClosePayment",
        "authorize_payment": "payments.VoidPayment",
    }


def test_only_the_message_to_the_customer_may_be_missed():
    assert [step.name for step in CHECKOUT.steps if step.skippable] == ["notify_customer"]


def test_the_customer_is_told_the_number_of_the_invoice():
    state = keep_invoice(STATE, billing.IssuedInvoice(invoice_id=uuid7(), number="INV2026-000007"))

    command = CHECKOUT.steps[-1].do(state)

    assert command.invoice_number == "INV2026-000007"
    assert replace(state, invoice_number="") == STATE


def test_the_state_survives_being_stored():
    assert codec.decode(CheckoutState, codec.encode(STATE)) == STATE
