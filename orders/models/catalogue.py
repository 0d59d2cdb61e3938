"""What can be ordered."""

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class Product(models.Model):
    """Something that is shown in the shop."""

    id = models.BigAutoField(primary_key=True)
    slug = models.SlugField(max_length=255, unique=True)
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True, default="")
    active = models.BooleanField(default=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    def __str__(self) -> str:
        """Return the name."""
        return self.name


class Sku(models.Model):
    """One variant of a product, with its price; ``unit_price`` counts minor units."""

    id = models.BigAutoField(primary_key=True)
    code = models.CharField(max_length=64, unique=True)
    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="skus")
    unit_price = models.DecimalField(max_digits=18, decimal_places=4)
    currency = models.CharField(max_length=3, default="GBP")
    active = models.BooleanField(default=True)

    class Meta:
        verbose_name = "SKU"
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(unit_price__gt=0), name="orders_sku_price_positive"),
            models.CheckConstraint(
                condition=Q(currency__regex="^[A-Z]{3}$"), name="orders_sku_currency"
            ),
        ]

    def __str__(self) -> str:
        """Return the code."""
        return self.code
