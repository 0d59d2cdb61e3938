"""The checkout: from a placed order to goods, money and an invoice that agree, or to nothing.

Read it from the bottom: the table says what happens in which order, and what undoes it. The
functions above the table make the commands; each command names the context that carries it out.
"""

from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from billing import api as billing
from orders.commands import ConfirmOrder, FailOrder, NotifyCustomer, ReleaseStock, ReserveStock
from orders.queries import agreed
from payments import api as payments
from sagas.api import Saga, begun, compensatable, pivot, retriable


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckoutState:
    """What the checkout remembers from one step to the next."""

    order_id: UUID
    customer_id: UUID
    payment_id: UUID
    payment_method_id: UUID
    amount: int
    currency: str
    invoice_number: str = ""


def fail_order(state: CheckoutState) -> FailOrder:
    return FailOrder(order_id=state.order_id)


def reserve_stock(state: CheckoutState) -> ReserveStock:
    return ReserveStock(order_id=state.order_id)


def release_stock(state: CheckoutState) -> ReleaseStock:
    return ReleaseStock(order_id=state.order_id)


def prepare_payment(state: CheckoutState) -> payments.PreparePayment:
    return payments.PreparePayment(
        payment_id=state.payment_id,
        order_id=state.order_id,
        customer_id=state.customer_id,
        method_id=state.payment_method_id,
        amount=state.amount,
        currency=state.currency,
    )


def close_payment(state: CheckoutState) -> payments.ClosePayment:
    return payments.ClosePayment(payment_id=state.payment_id)


def authorize_payment(state: CheckoutState) -> payments.AuthorizePayment:
    return payments.AuthorizePayment(payment_id=state.payment_id)


def void_payment(state: CheckoutState) -> payments.VoidPayment:
    # By an id made before the first call: the hold may exist although its reply was lost.
    return payments.VoidPayment(payment_id=state.payment_id)


def capture_payment(state: CheckoutState) -> payments.CapturePayment:
    return payments.CapturePayment(payment_id=state.payment_id)


def issue_invoice(state: CheckoutState) -> billing.IssueInvoice:
    # The one builder that reads: what was agreed never changes, and a thousand lines would not
    # make a good state.
    order = agreed(state.order_id)
    return billing.IssueInvoice(
        order_id=order.id,
        order_number=order.number,
        customer_id=order.customer_id,
        customer_name=order.customer_name,
        currency=order.currency,
        total=order.total,
        business_date=order.business_date,
        lines=tuple(
            billing.InvoiceLineInput(
                position=line.position,
                sku=line.sku,
                description=line.description,
                quantity=line.quantity,
                unit_price=line.unit_price,
                line_total=line.line_total,
            )
            for line in order.lines
        ),
    )


def keep_invoice(state: CheckoutState, reply: billing.IssuedInvoice) -> CheckoutState:
    return replace(state, invoice_number=reply.number)


def confirm_order(state: CheckoutState) -> ConfirmOrder:
    return ConfirmOrder(order_id=state.order_id)


def notify_customer(state: CheckoutState) -> NotifyCustomer:
    return NotifyCustomer(
        order_id=state.order_id,
        template="order_confirmed",
        invoice_number=state.invoice_number,
    )


CHECKOUT = Saga(
    name="orders.checkout",
    version=1,
    state=CheckoutState,
    deadline=timedelta(minutes=30),
    steps=(
        begun("place_order", undo=fail_order),
        compensatable("reserve_stock", do=reserve_stock, undo=release_stock),
        compensatable("prepare_payment", do=prepare_payment, undo=close_payment),
        compensatable("authorize_payment", do=authorize_payment, undo=void_payment),
        pivot("capture_payment", do=capture_payment),
        retriable("issue_invoice", do=issue_invoice, keep=keep_invoice),
        retriable("confirm_order", do=confirm_order),
        # The one step that may be missed: goods, money and invoice agree without it.
        retriable("notify_customer", do=notify_customer, skippable=True),
    ),
)
