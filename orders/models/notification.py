"""What a customer has been told."""

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from orders.models.customer import Customer
from orders.models.order import Order
from sagas.ids import uuid7


class Notification(models.Model):
    """A message to a customer, shown on their pages; written once per ``dedup_key``."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    dedup_key = models.CharField(max_length=200, unique=True)
    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="notifications")
    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="+")
    template = models.CharField(max_length=50)
    subject = models.CharField(max_length=200)
    body = models.TextField()
    status = models.CharField(max_length=16, default="unread")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(status__in=["unread", "read"]), name="orders_notification_status"
            )
        ]
        indexes: ClassVar = [
            models.Index(fields=["customer", "-created_at"], name="orders_notification_customer")
        ]

    def __str__(self) -> str:
        """Return the subject."""
        return self.subject
