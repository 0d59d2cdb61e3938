"""Issuing and settling. Each runs inside the transaction of its caller.

Both begin by locking the account, so that of an invoice and its payment booked at the same
moment the second always sees the first.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import F
from django.db.models.functions import Now

from billing import ledger
from billing.accounts.models import BillingAccount
from billing.accounts.services import locked_account
from billing.commands import IssueInvoice
from billing.events import InvoiceIssued, InvoiceSettled
from billing.invoices.models import Invoice, InvoiceLine, InvoiceSettlement, ReceivedPayment
from billing.invoices.numbering import series_of, take_number
from billing.states import InvoiceStatus
from sagas.api import clock, publish, uuid7

PAYMENT = "payment"


@dataclass(frozen=True, kw_only=True, slots=True)
class Captured:
    """Money that was captured for an order."""

    payment_id: UUID
    order_id: UUID
    customer_id: UUID
    amount: int
    currency: str
    provider_ref: str
    captured_at: datetime


class LinesDoNotSum(Exception):
    """The lines to be invoiced do not add up to the total."""


class InvoiceMoved(Exception):
    """An invoice was settled by somebody who did not lock its account."""


def issue(order: IssueInvoice) -> Invoice:
    """Write and book the invoice of an order, settled at once if the money is already here.

    :raises LinesDoNotSum: if the command contradicts itself
    """
    if sum(line.line_total for line in order.lines) != order.total:
        raise LinesDoNotSum(order.order_number)
    account = locked_account(order.customer_id, currency=order.currency, name=order.customer_name)
    known = Invoice.objects.filter(order_id=order.order_id).first()
    if known is not None:
        return known
    invoice = _unnumbered(order, account)
    _write_lines(invoice, order)
    ledger.post(
        ledger.Rule.INVOICE_ISSUED,
        invoice.id,
        ledger.debit(ledger.RECEIVABLE, invoice.total, account.id),
        ledger.credit(ledger.SALES, invoice.total),
        currency=invoice.currency,
        occurred_at=invoice.issued_at,
    )
    for payment in _unapplied_payments(invoice):
        _apply(payment, invoice)
    _number(invoice)
    return invoice


def _unnumbered(order: IssueInvoice, account: BillingAccount) -> Invoice:
    return Invoice(
        id=uuid7(),
        account=account,
        series=series_of(order.business_date),
        order_id=order.order_id,
        order_number=order.order_number,
        customer_id=order.customer_id,
        customer_name=order.customer_name,
        currency=order.currency,
        total=order.total,
        issued_at=clock.now(),
        business_date=order.business_date,
    )


def _write_lines(invoice: Invoice, order: IssueInvoice) -> None:
    # Before the invoice: an invoice that is there takes no more lines, and its insert checks
    # that they sum to the total. The foreign key waits for the commit.
    InvoiceLine.objects.bulk_create(
        InvoiceLine(
            invoice_id=invoice.id,
            position=line.position,
            sku=line.sku,
            description=line.description,
            quantity=line.quantity,
            unit_price=line.unit_price,
            line_total=line.line_total,
        )
        for line in order.lines
    )


def _number(invoice: Invoice) -> None:
    invoice.number = take_number(invoice.series)
    invoice.save(force_insert=True)
    publish(
        InvoiceIssued(
            invoice_id=invoice.id,
            number=invoice.label,
            order_id=invoice.order_id,
            customer_id=invoice.customer_id,
            currency=invoice.currency,
            total=invoice.total,
            business_date=invoice.business_date,
        ),
        aggregate=invoice,
    )
    if invoice.status == InvoiceStatus.SETTLED:
        _announce_settled(invoice)


def receive_payment(captured: Captured) -> None:
    """Book captured money to the customer's balance, and settle the order's invoice with it.

    Comes before or after the invoice, and is booked once however often it is told.
    """
    account = locked_account(captured.customer_id, currency=captured.currency)
    if ReceivedPayment.objects.filter(payment_id=captured.payment_id).exists():
        return
    payment = ReceivedPayment.objects.create(
        payment_id=captured.payment_id,
        account=account,
        order_id=captured.order_id,
        amount=captured.amount,
        currency=captured.currency,
        provider_ref=captured.provider_ref,
        captured_at=captured.captured_at,
    )
    ledger.post(
        ledger.Rule.PAYMENT_CAPTURED,
        payment.payment_id,
        ledger.debit(ledger.CLEARING, payment.amount),
        ledger.credit(ledger.CUSTOMER_BALANCE, payment.amount, account.id),
        currency=payment.currency,
        occurred_at=payment.captured_at,
    )
    invoice = Invoice.objects.filter(
        order_id=captured.order_id, currency=captured.currency, status=InvoiceStatus.OPEN.value
    ).first()
    if invoice is not None:
        _settle(invoice, payment)


def _settle(invoice: Invoice, payment: ReceivedPayment) -> None:
    before = invoice.settled
    _apply(payment, invoice)
    changed = Invoice.objects.filter(
        id=invoice.id, status=InvoiceStatus.OPEN.value, settled=before
    ).update(settled=invoice.settled, status=invoice.status, updated_at=Now())
    if not changed:
        raise InvoiceMoved(invoice.label)
    if invoice.status == InvoiceStatus.SETTLED:
        _announce_settled(invoice)


def _unapplied_payments(invoice: Invoice) -> list[ReceivedPayment]:
    payments = ReceivedPayment.objects.filter(
        order_id=invoice.order_id, currency=invoice.currency, applied__lt=F("amount")
    )
    return list(payments.order_by("captured_at", "payment_id"))


def _apply(payment: ReceivedPayment, invoice: Invoice) -> None:
    amount = min(invoice.total - invoice.settled, payment.amount - payment.applied)
    if amount == 0:
        return
    settlement = InvoiceSettlement.objects.create(
        id=uuid7(),
        invoice_id=invoice.id,
        source=PAYMENT,
        source_id=payment.payment_id,
        amount=amount,
    )
    ReceivedPayment.objects.filter(payment_id=payment.payment_id).update(
        applied=F("applied") + amount
    )
    ledger.post(
        ledger.Rule.PAYMENT_APPLIED,
        settlement.id,
        ledger.debit(ledger.CUSTOMER_BALANCE, amount, invoice.account_id),
        ledger.credit(ledger.RECEIVABLE, amount, invoice.account_id),
        currency=invoice.currency,
        occurred_at=clock.now(),
    )
    invoice.settled += amount
    if invoice.settled == invoice.total:
        invoice.status = InvoiceStatus.SETTLED.value


def _announce_settled(invoice: Invoice) -> None:
    publish(
        InvoiceSettled(
            invoice_id=invoice.id,
            number=invoice.label,
            order_id=invoice.order_id,
            customer_id=invoice.customer_id,
            currency=invoice.currency,
            total=invoice.total,
        ),
        aggregate=invoice,
    )
