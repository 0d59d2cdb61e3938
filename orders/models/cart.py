"""What a customer is about to order."""

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from orders.models.catalogue import Sku
from orders.models.customer import Customer
from orders.refusals import QUANTITY_LIMIT


class Cart(models.Model):
    """The one cart of a customer."""

    id = models.BigAutoField(primary_key=True)
    customer = models.OneToOneField(Customer, on_delete=models.CASCADE, related_name="cart")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    def __str__(self) -> str:
        """Return whose cart it is."""
        return f"cart of {self.customer_id}"


class CartLine(models.Model):
    """An item in the cart and how many of it."""

    id = models.BigAutoField(primary_key=True)
    cart = models.ForeignKey(Cart, on_delete=models.CASCADE, related_name="lines")
    sku = models.ForeignKey(Sku, on_delete=models.CASCADE)
    quantity = models.IntegerField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["cart", "sku"], name="orders_cartline_one_per_sku"),
            models.CheckConstraint(
                condition=Q(quantity__range=(1, QUANTITY_LIMIT)),
                name="orders_cartline_quantity",
            ),
        ]

    def __str__(self) -> str:
        """Return the item and its quantity."""
        return f"{self.quantity} of {self.sku_id}"
