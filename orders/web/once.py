"""Forms that do something: sent twice, they do it once and are answered the same."""

from collections.abc import Callable
from typing import Final

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from orders.queries import CustomerView
from orders.refusals import OrderRefused
from sagas.idempotency.http import (
    RETRY_AFTER_SECONDS,
    Answer,
    KeyInUse,
    KeyMalformed,
    KeyMissing,
    KeyReused,
    Prepare,
    SeveralKeys,
    answer_once,
    key_in_form,
    keyed,
    response_of,
)

HEADER: Final = "Awaited"
AWAITED: Final = "awaited"
AWAITED_SECONDS: Final = 600


def answered_once(request: HttpRequest, customer: CustomerView, prepare: Prepare) -> HttpResponse:
    """Do what a form asks for once, and answer every copy of it the same."""
    try:
        keyed_request = keyed(
            request,
            context="orders",
            principal=f"customer:{customer.id}",
            key=key_in_form(request),
        )
        response = response_of(answer_once(keyed_request, prepare, refusals=(OrderRefused,)))
    except KeyInUse:
        refused = render(request, "orders/being_worked_on.html", status=409)
        refused.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
        return refused
    except KeyReused:
        return render(request, "orders/form_reused.html", status=422)
    except (KeyMissing, KeyMalformed, SeveralKeys):
        return render(request, "orders/form_reused.html", status=400)
    return _carried_along(response, request)


def _carried_along(response: HttpResponse, request: HttpRequest) -> HttpResponse:
    """Let the browser carry what is awaited to the pages that it opens next."""
    awaited = response.headers.get(HEADER, "")
    if awaited:
        del response.headers[HEADER]
        response.set_cookie(
            AWAITED,
            awaited,
            max_age=AWAITED_SECONDS,
            httponly=True,
            samesite="Lax",
            secure=request.is_secure(),
        )
    return response


def done_once(
    request: HttpRequest, customer: CustomerView, act: Callable[[], None], *, then: str
) -> HttpResponse:
    """Run an act once inside the transaction of the request, and send the browser on."""

    def perform() -> Answer:
        act()
        return sent_on(then)

    return answered_once(request, customer, lambda: perform)


def sent_on(address: str, *, awaited: str = "") -> Answer:
    """Return the answer that sends the browser on to a page.

    :param awaited: what the order list must have come to before it says that it is up to date
    """
    headers = {"Location": address}
    if awaited:
        headers[HEADER] = awaited
    return Answer(status=303, headers=headers)
