"""The cart."""

from collections.abc import Callable

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from orders import queries, services
from orders.forms import CartForm
from orders.queries import CustomerView
from orders.refusals import Refusal
from orders.web.access import for_customer
from orders.web.once import done_once


@require_safe
@for_customer
def cart(request: HttpRequest, customer: CustomerView) -> HttpResponse:
    """Show what is in the cart."""
    return _show(request, customer)


@require_POST
@for_customer
def add(request: HttpRequest, customer: CustomerView) -> HttpResponse:
    """Put more of an item into the cart."""
    form = CartForm(request.POST)
    if not form.is_valid():
        return _show(request, customer, problem=form.complaint())
    sku, quantity = form.cleaned_data["sku"], form.cleaned_data["quantity"]

    def act() -> None:
        services.add_to_cart(customer_id=customer.id, sku=sku, quantity=quantity)

    return _change(request, customer, act, said="It is in your cart.")


@require_POST
@for_customer
def change(request: HttpRequest, customer: CustomerView) -> HttpResponse:
    """Set how many of an item are in the cart; none takes it out."""
    form = CartForm(request.POST)
    if not form.is_valid():
        return _show(request, customer, problem=form.complaint())
    sku, quantity = form.cleaned_data["sku"], form.cleaned_data["quantity"]

    def act() -> None:
        services.set_in_cart(customer_id=customer.id, sku=sku, quantity=quantity)

    said = "Your cart is up to date." if quantity else "It is out of your cart."
    return _change(request, customer, act, said=said)


def _change(
    request: HttpRequest, customer: CustomerView, act: Callable[[], None], *, said: str
) -> HttpResponse:
    try:
        response = done_once(request, customer, act, then=reverse("shop:cart"))
    except Refusal as refusal:
        return _show(request, customer, problem=str(refusal))
    if response.status_code == 303 and "Idempotency-Replayed" not in response.headers:
        messages.success(request, said)
    return response


def _show(request: HttpRequest, customer: CustomerView, *, problem: str = "") -> HttpResponse:
    found = queries.cart_of(customer.id)
    page = {
        "cart": found,
        "problems": [problem] if problem else [],
        "can_check_out": bool(found.lines) and all(line.for_sale for line in found.lines),
    }
    return render(request, "orders/cart.html", page, status=422 if problem else 200)
