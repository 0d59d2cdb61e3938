"""What the events of this context come to: the columns that each of them has to have filled."""

from orders.events import (
    CustomerRegistered,
    OrderCanceled,
    OrderConfirmed,
    OrderFailed,
    OrderPlaced,
)
from orders.models import Customer, Order
from orders.states import OrderStatus
from sagas.api import Event, Facts, folds


@folds(Order)
def order(facts: Facts, event: Event) -> Facts:
    """Tell where an order stands, and what it comes to."""
    match event:
        case OrderPlaced():
            return {
                "number": event.number,
                "customer_id": event.customer_id,
                "currency": event.currency,
                "goods": sum(line.line_total for line in event.lines),
                "total": event.total,
                "business_date": event.business_date,
                "reference": event.reference,
                "status": OrderStatus.PENDING.value,
                "reason": "",
            }
        case OrderConfirmed():
            return {**facts, "status": OrderStatus.CONFIRMED.value, "total": event.total}
        case OrderFailed():
            return {**facts, "status": OrderStatus.FAILED.value, "reason": event.reason}
        case OrderCanceled():
            return {**facts, "status": OrderStatus.CANCELED.value, "reason": event.reason}
    return facts


@folds(Customer)
def customer(facts: Facts, event: Event) -> Facts:
    """Tell who may order; a name and an address may change, and be erased."""
    if isinstance(event, CustomerRegistered):
        return {"currency": event.currency}
    return facts
