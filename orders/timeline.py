"""The operators' timeline: every event of all contexts, each with a sentence.

A new event needs one here, and raises the version; a test compares them with the map of events.
"""

from dataclasses import dataclass

from orders.models import Timeline
from sagas.admin.display import plain_money
from sagas.api import Projection, Put, timeline_row

TIMELINE = Projection("orders.timeline", version=1, into=Timeline)


@dataclass(frozen=True, kw_only=True, slots=True)
class CurrencySeen:
    """What is read of ``orders.CustomerRegistered``: who it is stays out of the table."""

    currency: str


@dataclass(frozen=True, kw_only=True, slots=True)
class NumberSeen:
    """What is read of what has a number, and of which no more need be said."""

    number: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TotalSeen:
    """What is read of orders and invoices that tell what they come to."""

    number: str
    total: int
    currency: str


@dataclass(frozen=True, kw_only=True, slots=True)
class EndSeen:
    """What is read of ``orders.OrderFailed`` and ``orders.OrderCanceled``."""

    number: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeSeen:
    """What is read of the events of a coupon."""

    code: str


@dataclass(frozen=True, kw_only=True, slots=True)
class AmountSeen:
    """What is read of the events of a payment."""

    amount: int
    currency: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RefusalSeen:
    """What is read of ``payments.PaymentDeclined``."""

    amount: int
    currency: str
    code: str


@TIMELINE.on("orders.CustomerRegistered")
def line_of_customer(event: CurrencySeen) -> Put:
    """Say that somebody may order."""
    return timeline_row(f"A customer may order in {event.currency}")


@TIMELINE.on("orders.OrderPlaced")
def line_of_order(event: TotalSeen) -> Put:
    """Say what was ordered for how much."""
    total = plain_money(event.total, event.currency)
    return timeline_row(f"Order {event.number} was placed, for {total}")


@TIMELINE.on("orders.OrderConfirmed")
def line_of_confirmation(event: NumberSeen) -> Put:
    """Say that an order is paid for."""
    return timeline_row(f"Order {event.number} was confirmed")


@TIMELINE.on("orders.OrderFailed")
def line_of_failure(event: EndSeen) -> Put:
    """Say why an order came to nothing."""
    return timeline_row(f"Order {event.number} failed: {event.reason}")


@TIMELINE.on("orders.OrderCanceled")
def line_of_cancellation(event: EndSeen) -> Put:
    """Say why an order was taken back."""
    return timeline_row(f"Order {event.number} was canceled: {event.reason}")


@TIMELINE.on("billing.AccountOpened")
def line_of_account(event: NumberSeen) -> Put:
    """Say that a customer can be billed."""
    return timeline_row(f"Account {event.number} was opened")


@TIMELINE.on("billing.InvoiceIssued")
def line_of_invoice(event: TotalSeen) -> Put:
    """Say what was billed."""
    total = plain_money(event.total, event.currency)
    return timeline_row(f"Invoice {event.number} was issued, for {total}")


@TIMELINE.on("billing.InvoiceSettled")
def line_of_settlement(event: NumberSeen) -> Put:
    """Say that an invoice is paid."""
    return timeline_row(f"Invoice {event.number} was paid in full")


@TIMELINE.on("billing.CouponGranted")
def line_of_coupon(event: CodeSeen) -> Put:
    """Say which coupon was granted."""
    return timeline_row(f"Coupon {event.code} was granted")


@TIMELINE.on("billing.CouponWithdrawn")
def line_of_withdrawal(event: CodeSeen) -> Put:
    """Say which coupon was taken back."""
    return timeline_row(f"Coupon {event.code} was withdrawn")


@TIMELINE.on("payments.PaymentAuthorized")
def line_of_hold(event: AmountSeen) -> Put:
    """Say how much is held."""
    return timeline_row(f"{plain_money(event.amount, event.currency)} are held on the card")


@TIMELINE.on("payments.PaymentCaptured")
def line_of_capture(event: AmountSeen) -> Put:
    """Say how much was taken."""
    return timeline_row(f"{plain_money(event.amount, event.currency)} were taken")


@TIMELINE.on("payments.PaymentDeclined")
def line_of_refusal(event: RefusalSeen) -> Put:
    """Say what the bank refused, and why."""
    amount = plain_money(event.amount, event.currency)
    return timeline_row(f"{amount} were refused: {event.code}")


@TIMELINE.on("payments.PaymentVoided")
def line_of_void(event: AmountSeen) -> Put:
    """Say how much was let go."""
    return timeline_row(f"{plain_money(event.amount, event.currency)} were let go")
