"""Who is looking: the customer of the sign-in, and nobody else's things."""

from collections.abc import Callable
from functools import update_wrapper
from typing import Concatenate, ParamSpec

from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache

from orders.queries import CustomerView, customer_by_user

P = ParamSpec("P")
View = Callable[P, HttpResponse]
CustomerPage = Callable[Concatenate[HttpRequest, CustomerView, P], HttpResponse]


def with_our_own_404(page: View[P]) -> View[P]:
    """Let a page say "not found" in the shop's words, also while the site is being developed."""

    def answer(*args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        try:
            return page(*args, **kwargs)
        except Http404:
            request = next(one for one in args if isinstance(one, HttpRequest))
            return render(request, "404.html", status=404)

    return update_wrapper(answer, page)


def for_customer(page: CustomerPage[P]) -> View[Concatenate[HttpRequest, P]]:
    """Give a page the customer who signed in; send everybody else to the sign-in.

    Pages are not kept by the browser: going back would bring a form whose key is used up.
    """

    def answer(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        user_id = request.user.pk
        if user_id is None:
            back = request.get_full_path() if request.method == "GET" else reverse("shop:catalogue")
            return redirect_to_login(back)
        customer = customer_by_user(user_id)
        if customer is None:
            return render(request, "no_customer.html", status=403)
        return page(request, customer, *args, **kwargs)

    return never_cache(with_our_own_404(update_wrapper(answer, page)))
