"""What the templates of the shop need beside Django's own tags."""

from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from orders.queries import SkuView, items_in_cart
from orders.web import art
from sagas.idempotency.http import FIELD, fresh_key

register = template.Library()
FEW = 5


@register.simple_tag
def idempotency_key() -> SafeString:
    """Hide a fresh key in a form, so that sending it twice does its work once."""
    return format_html('<input type="hidden" name="{}" value="{}">', FIELD, fresh_key())


@register.simple_tag(takes_context=True)
def cart_count(context: dict[str, Any]) -> int:
    """Return how many items are in the cart of whoever is signed in."""
    user = getattr(context.get("request"), "user", None)
    return 0 if user is None or user.pk is None else items_in_cart(user.pk)


@register.filter
def stock_words(sku: SkuView) -> str:
    """Return whether an item is there, in words."""
    if sku.available <= 0:
        return "Sold out"
    if sku.available <= FEW:
        return f"Only {sku.available} left"
    return "In stock"


@register.simple_tag
def product_art(slug: str, name: str) -> SafeString:
    """Draw a product for which there is no picture; the same one looks the same everywhere."""
    # Nothing of the product goes into the drawing: both parts are constants of the module.
    return mark_safe(art.drawing(slug, name))  # noqa: S308
