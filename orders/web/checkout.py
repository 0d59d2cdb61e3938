"""From the cart to an order."""

from collections.abc import Sequence
from uuid import UUID

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from orders import queries, services
from orders.forms import CheckoutForm
from orders.queries import CustomerView
from orders.refusals import CartChanged, OrderRefused, Refusal
from orders.web.access import for_customer
from orders.web.cards import card_choices
from orders.web.once import answered_once, sent_on
from sagas.idempotency.http import Answer, Perform


class TotalChanged(Refusal):
    """The order comes to another amount than was shown."""

    code = "total_changed"
    remedy = "Check the new total before you order."


@require_http_methods(["GET", "HEAD", "POST"])
@for_customer
def checkout(request: HttpRequest, customer: CustomerView) -> HttpResponse:
    """Show what is about to be ordered, and order it."""
    if request.method == "POST":
        return _order(request, customer)
    if not queries.cart_of(customer.id).lines:
        return redirect("shop:cart")
    return _show(request, customer, CheckoutForm())


def _order(request: HttpRequest, customer: CustomerView) -> HttpResponse:
    form = CheckoutForm(request.POST)
    if not form.is_valid():
        complaints = [str(error) for errors in form.errors.values() for error in errors]
        return _show(request, customer, form, complaints)

    def prepare() -> Perform:
        draft = services.draft_from_cart(
            customer_id=customer.id, payment_method_id=form.cleaned_data["payment_method"]
        )
        contents = queries.contents_of((line.sku, line.quantity) for line in draft.lines)
        if contents != form.cleaned_data["contents"]:
            raise OrderRefused([CartChanged("The cart has changed since you saw it.", "cart")])
        if draft.total != form.cleaned_data["total"]:
            raise OrderRefused([TotalChanged("The total has changed since you saw it.", "total")])
        return lambda: _placed(services.place(draft).id)

    try:
        return answered_once(request, customer, prepare)
    except OrderRefused as refused:
        return _show(request, customer, form, [str(problem) for problem in refused.problems])
    except CartChanged as changed:
        return _show(request, customer, form, [str(changed)])


def _placed(order_id: UUID) -> Answer:
    return sent_on(reverse("shop:order", args=[order_id]))


def _show(
    request: HttpRequest,
    customer: CustomerView,
    form: CheckoutForm,
    problems: Sequence[str] = (),
) -> HttpResponse | HttpResponseRedirect:
    page = {
        "cart": queries.cart_of(customer.id),
        "customer": customer,
        "cards": card_choices(customer.id),
        "chosen": str(form.data.get("payment_method", "")),
        "problems": problems,
    }
    return render(request, "orders/checkout.html", page, status=422 if problems else 200)
