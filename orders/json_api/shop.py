"""What can be bought, and how it can be paid."""

from typing import Annotated

from ninja import Query, Router

from orders import queries
from orders.json_api.access import ApiRequest
from orders.json_api.documents import (
    PaymentMethodOut,
    PaymentMethodPage,
    ProblemOut,
    ProductPage,
    product_out,
)
from orders.json_api.paging import CatalogueIn, next_page
from payments import api as payments

router = Router(tags=["shop"])


@router.get("/products", response={200: ProductPage, 401: ProblemOut, 422: ProblemOut})
def list_products(request: ApiRequest, page: Annotated[CatalogueIn, Query()]) -> ProductPage:
    """List the products for sale by name."""
    found = queries.catalogue(search=page.search, limit=page.limit + 1, after=page.after)
    return ProductPage(
        data=[product_out(product) for product in found[: page.limit]],
        next=next_page(request, [product.slug for product in found], page.limit),
    )


@router.get("/payment-methods", response={200: PaymentMethodPage, 401: ProblemOut})
def list_payment_methods(request: ApiRequest) -> PaymentMethodPage:
    """List the cards the customer can pay with."""
    return PaymentMethodPage(
        data=[
            PaymentMethodOut(
                id=method.id,
                brand=method.brand,
                last4=method.last4,
                label=method.label,
                kind=method.kind,
            )
            for method in payments.methods_of(request.auth.id)
        ]
    )
