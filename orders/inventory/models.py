"""The tables of the stock."""

from typing import ClassVar

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from orders.inventory.states import ReservationState


class StockLevel(models.Model):
    """How much of an item there is, and how much of that is promised.

    ``reserved`` is the sum of the reservations that are held, ``on_hand`` the sum of the
    movements; both are kept here because the guard against overselling needs them in one row.
    """

    id = models.BigAutoField(primary_key=True)
    sku = models.CharField(max_length=64, unique=True)
    on_hand = models.BigIntegerField(default=0)
    reserved = models.BigIntegerField(default=0)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(on_hand__gte=0), name="orders_stocklevel_on_hand_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(reserved__gte=0), name="orders_stocklevel_reserved_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(reserved__lte=F("on_hand")), name="orders_stocklevel_not_oversold"
            ),
        ]

    def __str__(self) -> str:
        """Return the item and its numbers."""
        return f"{self.sku}: {self.on_hand} on hand, {self.reserved} reserved"


class StockReservation(models.Model):
    """Goods set aside for one line of an order."""

    id = models.BigAutoField(primary_key=True)
    order_id = models.UUIDField()
    position = models.PositiveIntegerField()
    stock = models.ForeignKey(StockLevel, on_delete=models.PROTECT, related_name="reservations")
    quantity = models.BigIntegerField()
    state = models.CharField(max_length=16, default=ReservationState.HELD.value)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    closed_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["order_id", "position"], name="orders_stockreservation_one_per_line"
            ),
            models.CheckConstraint(
                condition=Q(quantity__gt=0), name="orders_stockreservation_quantity_positive"
            ),
            models.CheckConstraint(
                condition=Q(state__in=[state.value for state in ReservationState]),
                name="orders_stockreservation_state_known",
            ),
            models.CheckConstraint(
                condition=Q(state="held", closed_at__isnull=True)
                | Q(~Q(state="held"), closed_at__isnull=False),
                name="orders_stockreservation_held_is_open",
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["stock"], condition=Q(state="held"), name="orders_reservation_held"
            )
        ]

    def __str__(self) -> str:
        """Return the order's line and the state."""
        return f"{self.order_id} line {self.position}: {self.quantity} {self.state}"


class StockMovement(models.Model):
    """One change of the quantity on hand; never changed itself (a trigger sees to it)."""

    id = models.BigAutoField(primary_key=True)
    stock = models.ForeignKey(StockLevel, on_delete=models.PROTECT, related_name="movements")
    kind = models.CharField(max_length=16)
    delta = models.BigIntegerField()
    ref = models.CharField(max_length=100, help_text="What moved it: an order, a delivery note.")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["stock", "kind", "ref"], name="orders_stockmovement_once"
            ),
            models.CheckConstraint(
                condition=~Q(delta=0), name="orders_stockmovement_moves_something"
            ),
        ]

    def __str__(self) -> str:
        """Return what moved and why."""
        return f"{self.kind} {self.delta:+d} ({self.ref})"
