"""The cart of a customer."""

from collections.abc import Mapping
from uuid import UUID

from orders.models import Cart, CartLine, Sku
from orders.refusals import (
    QUANTITY_LIMIT,
    BadQuantity,
    CartChanged,
    InactiveSku,
    Refusal,
    UnknownSku,
)
from orders.services.drafting import Line, OrderDraft, draft_order
from sagas.api import transaction, transaction_required


def put_in_cart(*, customer_id: UUID, sku: str, quantity: int) -> None:
    """Set how many of an item are in the cart; none takes it out.

    :raises Refusal: if the item or the quantity is not to be had
    """
    with transaction("orders"):
        set_in_cart(customer_id=customer_id, sku=sku, quantity=quantity)


def set_in_cart(*, customer_id: UUID, sku: str, quantity: int) -> None:
    """Do what ``put_in_cart`` does inside the caller's transaction.

    :raises Refusal: if the item or the quantity is not to be had
    """
    transaction_required()
    if not 0 <= quantity <= QUANTITY_LIMIT:
        raise BadQuantity(f"{quantity} is not a quantity of {sku}.", "quantity")
    item = Sku.objects.select_related("product").filter(code=sku).first()
    if item is None:
        raise UnknownSku(f"There is no item {sku!r}.", "sku")
    if quantity and not (item.active and item.product.active):
        raise _inactive(sku)
    cart, _ = Cart.objects.get_or_create(customer_id=customer_id)
    if quantity:
        CartLine.objects.bulk_create(
            [CartLine(cart=cart, sku=item, quantity=quantity)],
            update_conflicts=True,
            unique_fields=["cart", "sku"],
            update_fields=["quantity"],
        )
    else:
        CartLine.objects.filter(cart=cart, sku=item).delete()


def add_to_cart(*, customer_id: UUID, sku: str, quantity: int) -> None:
    """Put more of an item into the cart, inside the caller's transaction.

    :raises Refusal: if the item or the quantity is not to be had
    """
    transaction_required()
    if quantity < 1:
        raise BadQuantity(f"{quantity} is not a quantity of {sku}.", "quantity")
    # The cart and not the line, which may not be there yet: two that add count both.
    Cart.objects.get_or_create(customer_id=customer_id)
    cart = Cart.objects.select_for_update().get(customer_id=customer_id)
    there = CartLine.objects.filter(cart=cart, sku__code=sku)
    already = there.values_list("quantity", flat=True).first() or 0
    set_in_cart(customer_id=customer_id, sku=sku, quantity=already + quantity)


def _inactive(sku: str) -> Refusal:
    return InactiveSku(f"{sku} is no longer for sale.", "sku")


def empty_cart(*, customer_id: UUID) -> None:
    """Take everything out of the cart."""
    with transaction("orders"):
        CartLine.objects.filter(cart__customer_id=customer_id).delete()


def draft_from_cart(*, customer_id: UUID, payment_method_id: UUID) -> OrderDraft:
    """Check and price what is in the cart; placing the draft empties it.

    :raises OrderRefused: if it cannot be ordered as it stands
    """
    lines = CartLine.objects.filter(cart__customer_id=customer_id).order_by("id")
    return draft_order(
        customer_id=customer_id,
        lines=[
            Line(sku=sku, quantity=quantity)
            for sku, quantity in lines.values_list("sku__code", "quantity")
        ],
        payment_method_id=payment_method_id,
        from_cart=True,
    )


def take_cart(customer_id: UUID, expected: Mapping[str, int]) -> None:
    """Empty the cart inside the caller's transaction, if it still holds what was shown.

    This is what makes two clicks on "order" one order: the second finds the cart empty.

    :raises CartChanged: if it holds something else
    """
    transaction_required()
    lines = CartLine.objects.select_for_update(of=("self",)).filter(cart__customer_id=customer_id)
    found = list(lines.order_by("id").values_list("id", "sku__code", "quantity"))
    if {sku: quantity for _, sku, quantity in found} != dict(expected):
        raise CartChanged("The cart has changed since it was shown.", "cart")
    # Those and no others: what is put into the cart meanwhile stays there.
    CartLine.objects.filter(id__in=[key for key, _, _ in found]).delete()
