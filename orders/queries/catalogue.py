"""What the shop shows."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from django.db.models import Q, QuerySet

from orders.inventory.services import available
from orders.models import Product, Sku
from orders.refusals import UnknownProduct


@dataclass(frozen=True, kw_only=True, slots=True)
class SkuView:
    """An item that can be put into the cart."""

    code: str
    name: str
    unit_price: Decimal
    currency: str
    available: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ProductView:
    """A product page."""

    slug: str
    name: str
    description: str
    skus: tuple[SkuView, ...]


def catalogue(
    *, search: str = "", limit: int = 50, offset: int = 0, after: str = ""
) -> list[ProductView]:
    """Return the products for sale by name, with what of them is there.

    :param after: the slug of the last product of the page before
    :raises UnknownProduct: if there is no such product
    """
    rows = Product.objects.filter(active=True, skus__active=True).distinct()
    if after:
        rows = rows.filter(_beyond(after))
    if search:
        rows = rows.filter(name__icontains=search)
    return _views(rows.order_by("name", "slug")[offset : offset + limit])


def _beyond(slug: str) -> Q:
    name = Product.objects.filter(slug=slug).values_list("name", flat=True).first()
    if name is None:
        raise UnknownProduct(f"There is no product {slug!r}.", "after")
    return Q(name__gt=name) | Q(name=name, slug__gt=slug)


def product(slug: str) -> ProductView | None:
    """Return one product for sale, or None if there is no such."""
    found = _views(Product.objects.filter(active=True, slug=slug))
    return found[0] if found else None


def sku_of(code: str) -> SkuView | None:
    """Return one item for sale, or None if there is no such."""
    sku = _for_sale().filter(code=code).first()
    return None if sku is None else _view(sku, available([code]))


def _for_sale() -> QuerySet[Sku]:
    return Sku.objects.select_related("product").filter(active=True, product__active=True)


def _views(products: Iterable[Product]) -> list[ProductView]:
    found = list(products)
    per_product: dict[int, list[Sku]] = {one.id: [] for one in found}
    for sku in _for_sale().filter(product__in=found).order_by("code"):
        per_product[sku.product_id].append(sku)
    stock = available([sku.code for skus in per_product.values() for sku in skus])
    return [
        ProductView(
            slug=one.slug,
            name=one.name,
            description=one.description,
            skus=tuple(_view(sku, stock) for sku in per_product[one.id]),
        )
        for one in found
    ]


def _view(sku: Sku, stock: dict[str, int]) -> SkuView:
    return SkuView(
        code=sku.code,
        name=sku.product.name,
        unit_price=sku.unit_price,
        currency=sku.currency,
        available=stock.get(sku.code, 0),
    )
