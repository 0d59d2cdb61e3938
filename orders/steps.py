"""How orders carries out its commands."""

from uuid import UUID

from django.db.models.functions import Now

from orders import notifications
from orders.commands import ConfirmOrder, FailOrder, NotifyCustomer, ReleaseStock, ReserveStock
from orders.events import OrderCanceled, OrderConfirmed, OrderFailed
from orders.inventory import services as inventory
from orders.models import Order, OrderLine
from orders.states import OrderStatus, sources_of
from sagas.api import Rejected, clock, current_run, handles, publish


class OrderMoved(Exception):
    """An order is not in a state from which it can go where it was told to."""


@handles(ReserveStock)
def reserve_stock(command: ReserveStock) -> None:
    """Set the goods of an order aside, all or none."""
    lines = OrderLine.objects.filter(order_id=command.order_id).order_by("position")
    wanted = [
        inventory.Wanted(position=position, sku=sku, quantity=quantity)
        for position, sku, quantity in lines.values_list("position", "sku_code", "quantity")
    ]
    try:
        inventory.reserve(command.order_id, wanted)
    except inventory.OutOfStock as short:
        raise Rejected("out_of_stock") from short


@handles(ReleaseStock)
def release_stock(command: ReleaseStock) -> None:
    """Give the goods set aside for an order back.

    Safe to repeat: only what is still held is given back, and then it is held no more.
    """
    inventory.release(command.order_id)


@handles(ConfirmOrder)
def confirm_order(command: ConfirmOrder) -> None:
    """Confirm an order that is paid for and take its goods from the stock."""
    order = _move(command.order_id, OrderStatus.CONFIRMED, confirmed_at=clock.now())
    inventory.commit(order.id)
    publish(
        OrderConfirmed(
            order_id=order.id,
            number=order.number,
            customer_id=order.customer_id,
            currency=order.currency,
            total=order.total,
        ),
        aggregate=order,
    )


@handles(FailOrder)
def fail_order(command: FailOrder) -> None:
    """Close an order that came to nothing: canceled if somebody wanted that, else failed.

    Safe to repeat: an order that is closed stays closed, and is announced once.
    """
    run = current_run()
    is_canceled = run.canceled_by is not None
    status = OrderStatus.CANCELED if is_canceled else OrderStatus.FAILED
    if Order.objects.filter(id=command.order_id, status=status.value).exists():
        return
    # An operator's reason may be a sentence; the journal has it in full.
    reason = (run.failure or "unknown")[:100]
    order = _move(command.order_id, status, reason=reason, closed_at=clock.now())
    publish(
        (OrderCanceled if is_canceled else OrderFailed)(
            order_id=order.id,
            number=order.number,
            customer_id=order.customer_id,
            reason=order.reason,
        ),
        aggregate=order,
    )


@handles(NotifyCustomer)
def notify_customer(command: NotifyCustomer) -> None:
    """Tell the customer of an order something, once."""
    order = Order.objects.get(id=command.order_id)
    notifications.tell(order, command.template, invoice=command.invoice_number)


def _move(order_id: UUID, target: OrderStatus, **facts: object) -> Order:
    moved = Order.objects.filter(
        id=order_id, status__in=[source.value for source in sources_of(target)]
    ).update(status=target.value, updated_at=Now(), **facts)
    if not moved:
        raise OrderMoved(f"{order_id} cannot become {target.value}")
    return Order.objects.get(id=order_id)
