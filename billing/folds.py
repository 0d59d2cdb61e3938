"""What the events of this context come to: the columns that each of them has to have filled."""

from datetime import datetime
from uuid import UUID

from django.db.models import Q

from billing.coupons.states import CouponState
from billing.events import (
    AccountOpened,
    CouponGranted,
    CouponWithdrawn,
    InvoiceIssued,
    InvoiceSettled,
)
from billing.models import BillingAccount, Coupon, Invoice
from billing.queries import balances_at
from billing.states import InvoiceStatus
from sagas.api import Event, Facts, folds


@folds(Invoice)
def invoice(facts: Facts, event: Event) -> Facts:
    """Tell what an invoice is about; of its settlement only that it is paid in full."""
    match event:
        case InvoiceIssued():
            return {
                "order_id": event.order_id,
                "customer_id": event.customer_id,
                "currency": event.currency,
                "total": event.total,
                "business_date": event.business_date,
                "status": InvoiceStatus.OPEN.value,
            }
        case InvoiceSettled():
            return {**facts, "status": InvoiceStatus.SETTLED.value, "settled": event.total}
    return facts


def _balances(account_id: UUID, instant: datetime | None) -> Facts:
    """Return the balances of an account in the books, debits less credits."""
    return {"balances": balances_at(account_id, instant)}


@folds(BillingAccount, besides=_balances)
def account(facts: Facts, event: Event) -> Facts:
    """Tell who is billed; what they owe stands in the books."""
    if isinstance(event, AccountOpened):
        return {
            "number": event.number,
            "customer_id": event.customer_id,
            "currency": event.currency,
        }
    return facts


@folds(Coupon, untold=Q(granted_at__isnull=True))
def coupon(facts: Facts, event: Event) -> Facts:
    """Tell what an order has earned, and whether it was taken back."""
    match event:
        case CouponGranted():
            return {
                "code": event.code,
                "order_id": event.order_id,
                "customer_id": event.customer_id,
                "amount": event.amount,
                "currency": event.currency,
                "state": CouponState.GRANTED.value,
            }
        case CouponWithdrawn():
            return {**facts, "state": CouponState.WITHDRAWN.value}
    return facts
