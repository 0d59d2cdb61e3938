"""Where an order stands, in words a customer understands."""

from collections.abc import Mapping
from dataclasses import dataclass

from orders.states import OrderStatus


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """What is known about the checkout of a pending order."""

    step: str
    is_compensating: bool = False
    is_canceled: bool = False
    """Somebody wanted it back; without that, what compensates has failed."""
    is_past_return: bool = False
    is_parked: bool = False
    is_retrying: bool = False
    is_in_doubt: bool = False
    """The bank was asked and its answer is not known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """What the order page says, and what it lets the customer do."""

    text: str
    is_final: bool
    can_cancel: bool


_AT_STEP: Mapping[str, str] = {
    "place_order": "We have your order.",
    "reserve_stock": "We are reserving your items.",
    "prepare_payment": "Your items are reserved. We are getting the payment ready.",
    "authorize_payment": "Your items are reserved. We are asking your bank.",
    "capture_payment": "Your bank has agreed. We are taking the payment.",
    "issue_invoice": "Your payment is in. We are writing your invoice.",
    "confirm_order": "Your payment is in. We are confirming your order.",
    "notify_customer": "Your payment is in. We are confirming your order.",
}

_REASONS: Mapping[str, str] = {
    "out_of_stock": "Something you ordered is no longer in stock. You were not charged.",
    "card_declined": "Your bank declined the payment. You were not charged.",
    "generic_decline": "Your bank declined the payment. You were not charged.",
    "insufficient_funds": (
        "Your bank declined the payment: not enough money on the card. You were not charged."
    ),
    "payment_method_gone": (
        "The payment method you chose is no longer there. You were not charged."
    ),
    "hold_gone": "Your bank no longer held the money for this order. You were not charged.",
    "deadline": "The checkout took too long and was stopped. You were not charged.",
    "canceled_by_customer": "You canceled this order. You were not charged.",
}

IN_DOUBT = "We are checking with your bank. You will not be charged twice; please do not pay again."
LONGER = "This is taking a little longer than usual; there is nothing you need to do."
PARKED = "One of us is looking into your order; there is nothing you need to do."


_OTHERWISE: Mapping[OrderStatus, str] = {
    OrderStatus.FAILED: "We could not complete this order. You were not charged.",
    OrderStatus.CANCELED: "This order was canceled. You were not charged.",
}


def reason_text(status: OrderStatus, reason: str) -> str:
    """Return why an order ended, as told to the customer; empty while it has not failed."""
    if status not in _OTHERWISE:
        return ""
    return _REASONS.get(reason, _OTHERWISE[status])


def progress_of(status: OrderStatus, reason: str, standing: Standing | None) -> Progress:
    """Return what to tell the customer of an order.

    :param standing: of a pending order's checkout; None when it is not known
    """
    if status is OrderStatus.CONFIRMED:
        return Progress(
            text="Thank you. Your order is confirmed and paid.", is_final=True, can_cancel=False
        )
    if status in {OrderStatus.FAILED, OrderStatus.CANCELED}:
        return Progress(text=reason_text(status, reason), is_final=True, can_cancel=False)
    if standing is None:
        return Progress(text=_AT_STEP["place_order"], is_final=False, can_cancel=False)
    return Progress(
        text=_pending_text(standing),
        is_final=False,
        can_cancel=not (standing.is_compensating or standing.is_past_return),
    )


_AFTER_PAYMENT: Mapping[str, str] = {
    "authorized": "capture_payment",
    "captured": "issue_invoice",
    "declined": "authorize_payment",
    "voided": "authorize_payment",
}


def board_standing(payment: str, invoice_number: str) -> Standing:
    """Return how a pending order's checkout stands as far as events tell of it."""
    return Standing(
        step="confirm_order" if invoice_number else _AFTER_PAYMENT.get(payment, "reserve_stock"),
        is_compensating=payment in {"declined", "voided"},
        is_past_return=payment == "captured" or bool(invoice_number),
    )


def _pending_text(standing: Standing) -> str:
    if standing.is_in_doubt:
        return IN_DOUBT
    if standing.is_compensating:
        text = "We are stopping this order. Anything held on your card is given back."
    else:
        text = _AT_STEP.get(standing.step, _AT_STEP["place_order"])
    if standing.is_parked:
        return f"{text} {PARKED}"
    if standing.is_retrying:
        return f"{text} {LONGER}"
    return text
