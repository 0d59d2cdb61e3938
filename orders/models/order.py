"""What a customer ordered."""

from typing import ClassVar

from django.db import models
from django.db.models import F, Q

from orders.models.customer import Customer
from orders.refusals import QUANTITY_LIMIT
from orders.states import OrderStatus
from sagas.models import Aggregate


class Order(Aggregate):
    """An order: what was agreed never changes, only how it ended."""

    number = models.CharField(max_length=20, unique=True)
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="orders")
    currency = models.CharField(max_length=3)
    goods = models.BigIntegerField(help_text="Sum of the lines in minor units, tax included.")
    total = models.BigIntegerField(help_text="What is to be paid; the only amount charged.")
    status = models.CharField(max_length=16, default=OrderStatus.PENDING.value)
    reason = models.CharField(max_length=100, blank=True, default="")
    payment_method_id = models.UUIDField()
    payment_id = models.UUIDField(unique=True)
    saga_id = models.UUIDField(unique=True)
    # Null and not empty, since only nulls are never equal.
    reference = models.CharField(max_length=64, null=True, unique=True)
    business_date = models.DateField()
    placed_at = models.DateTimeField()
    confirmed_at = models.DateTimeField(null=True)
    closed_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(goods__gt=0), name="orders_order_goods_positive"),
            models.CheckConstraint(
                condition=Q(total=F("goods")), name="orders_order_total_is_goods"
            ),
            models.CheckConstraint(
                condition=Q(status__in=[status.value for status in OrderStatus]),
                name="orders_order_status_known",
            ),
            models.CheckConstraint(
                condition=Q(status="confirmed", confirmed_at__isnull=False)
                | Q(~Q(status="confirmed"), confirmed_at__isnull=True),
                name="orders_order_confirmed_has_a_time",
            ),
            models.CheckConstraint(
                condition=(
                    Q(status__in=["failed", "canceled"], closed_at__isnull=False) & ~Q(reason="")
                )
                | (Q(status__in=["pending", "confirmed"], closed_at__isnull=True, reason="")),
                name="orders_order_closed_has_a_reason",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["customer", "-placed_at"], name="orders_order_of_customer"),
            models.Index(
                fields=["placed_at"], condition=Q(status="pending"), name="orders_order_pending"
            ),
        ]

    def __str__(self) -> str:
        """Return the number."""
        return self.number


class OrderLine(models.Model):
    """One agreed line; an item may appear on several. Never changed (a trigger sees to it)."""

    id = models.BigAutoField(primary_key=True)
    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="lines")
    position = models.PositiveIntegerField()
    sku_code = models.CharField(max_length=64)
    description = models.CharField(max_length=200)
    quantity = models.IntegerField()
    unit_price = models.DecimalField(max_digits=18, decimal_places=4)
    line_total = models.BigIntegerField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["order", "position"], name="orders_orderline_position"),
            models.CheckConstraint(
                condition=Q(quantity__range=(1, QUANTITY_LIMIT)),
                name="orders_orderline_quantity",
            ),
            models.CheckConstraint(
                condition=Q(line_total__gte=0), name="orders_orderline_total_not_negative"
            ),
        ]

    def __str__(self) -> str:
        """Return the item and its quantity."""
        return f"{self.quantity} x {self.sku_code}"
