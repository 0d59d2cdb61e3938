"""Forms that do something: sent twice, they do it once and are answered the same."""

from collections.abc import Callable

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


def answered_once(request: HttpRequest, customer: CustomerView, prepare: Prepare) -> HttpResponse:
    """Do what a form asks for once, and answer every copy of it the same."""
    try:
        keyed_request = keyed(
            request,
            context="orders",
            principal=f"customer:{customer.id}",
            key=key_in_form(request),
        )
        return response_of(answer_once(keyed_request, prepare, refusals=(OrderRefused,)))
    except KeyInUse:
        response = render(request, "orders/being_worked_on.html", status=409)
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
        return response
    except KeyReused:
        return render(request, "orders/form_reused.html", status=422)
    except (KeyMissing, KeyMalformed, SeveralKeys):
        return render(request, "orders/form_reused.html", status=400)


def done_once(
    request: HttpRequest, customer: CustomerView, act: Callable[[], None], *, then: str
) -> HttpResponse:
    """Run an act once inside the transaction of the request, and send the browser on."""

    def perform() -> Answer:
        act()
        return sent_on(then)

    return answered_once(request, customer, lambda: perform)


def sent_on(address: str) -> Answer:
    """Return the answer that sends the browser on to a page."""
    return Answer(status=303, headers={"Location": address})
