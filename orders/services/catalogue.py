"""What the shop sells, and goods that come in."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from orders.inventory import services as inventory
from orders.models import Product, Sku
from orders.refusals import QUANTITY_LIMIT, BadQuantity, UnknownSku
from sagas.api import transaction


@dataclass(frozen=True, kw_only=True, slots=True)
class NewSku:
    """An item to be sold; ``unit_price`` counts minor units."""

    code: str
    name: str
    unit_price: Decimal
    currency: str = "GBP"
    stock: int = 0
    description: str = ""


def add_product(item: NewSku) -> bool:
    """Put an item into the catalogue; say whether it is new. A known one stays as it is."""
    return add_products([item]) == 1


def add_products(items: Sequence[NewSku]) -> int:
    """Put items into the catalogue in one transaction; return how many are new."""
    with transaction("orders"):
        known = set(
            Sku.objects.filter(code__in=[item.code for item in items]).values_list(
                "code", flat=True
            )
        )
        new = {item.code: item for item in items if item.code not in known}
        products = Product.objects.bulk_create(
            Product(slug=slug_of(item.code), name=item.name, description=item.description)
            for item in new.values()
        )
        Sku.objects.bulk_create(
            Sku(
                code=item.code,
                product=product,
                unit_price=item.unit_price,
                currency=item.currency,
            )
            for item, product in zip(new.values(), products, strict=True)
        )
        inventory.open_levels({code: item.stock for code, item in new.items()})
    return len(new)


def slug_of(code: str) -> str:
    """Return the address of a product page; two codes never share one."""
    # Codes that differ only in case are different items, so nothing is folded.
    return "".join(one if one.isascii() and one.isalnum() else f"_{ord(one):x}_" for one in code)


def receive_stock(*, sku: str, quantity: int, ref: str) -> bool:
    """Add goods to the stock, once per item and reference; say whether this was the time.

    :param ref: the delivery note or the like
    :raises BadQuantity: if there is nothing to add, or more than is believable
    :raises UnknownSku: if the catalogue has no such item
    """
    if not 1 <= quantity <= QUANTITY_LIMIT * 1000:
        raise BadQuantity(f"{quantity} is not a quantity of {sku}.", "quantity")
    if not Sku.objects.filter(code=sku).exists():
        raise UnknownSku(f"There is no item {sku!r}.", "sku")
    with transaction("orders"):
        return inventory.receive(sku, quantity, ref)


def set_active(*, sku: str, active: bool) -> None:
    """Offer an item for sale, or no longer.

    :raises UnknownSku: if the catalogue has no such item
    """
    with transaction("orders"):
        changed = Sku.objects.filter(code=sku).update(active=active)
    if not changed:
        raise UnknownSku(f"There is no item {sku!r}.", "sku")
