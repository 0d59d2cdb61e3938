"""The table of coupons."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from billing.coupons.states import CouponState
from sagas.models import Aggregate


class Coupon(Aggregate):
    """What one order has earned its customer; an order earns one at most."""

    order_id = models.UUIDField(unique=True)
    customer_id = models.UUIDField(db_index=True)
    code = models.CharField(max_length=20, unique=True)
    amount = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    state = models.CharField(max_length=16, default=CouponState.GRANTED.value)
    granted_at = models.DateTimeField(
        null=True, help_text="Empty: withdrawn before it was granted, so it never will be."
    )
    withdrawn_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(amount__gt=0), name="billing_coupon_positive"),
            models.CheckConstraint(
                condition=Q(state="granted", granted_at__isnull=False, withdrawn_at__isnull=True)
                | Q(state="withdrawn", withdrawn_at__isnull=False),
                name="billing_coupon_state",
            ),
        ]

    def __str__(self) -> str:
        """Return the code."""
        return self.code
