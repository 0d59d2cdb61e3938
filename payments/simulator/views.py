"""The provider's API, see ``docs/provider-simulator.md``."""

from collections.abc import Mapping
from typing import Any

from django.db import connection
from django.http import HttpRequest, HttpResponse

from payments.simulator import book
from payments.simulator.cards import CARDS
from payments.simulator.database import records, row
from payments.simulator.serving import call_of, endpoint, serve_read, serve_write
from payments.simulator.wire import (
    Answer,
    JsonObject,
    Problem,
    amount_of,
    currency_of,
    dumps,
    fingerprint,
    metadata_of,
    read_object,
    respond,
    text_of,
)

MAX_PAGE = 1000
PAGE = 100


@endpoint("GET", "POST")
def intents(request: HttpRequest) -> HttpResponse:
    """Open an intent, or list them."""
    if request.method == "POST":
        return _prepare(request)
    return _list_intents(request)


@endpoint("GET")
def intent(request: HttpRequest, ref: str) -> HttpResponse:
    """Show one intent."""
    call = call_of(request, "get", intent=ref)
    return serve_read(call, lambda: Answer(status=200, body=dumps(book.find(ref))))


@endpoint("POST")
def confirm(request: HttpRequest, ref: str) -> HttpResponse:
    """Hold the money on the card."""
    body = read_object(request)
    call = call_of(request, "confirm", intent=ref)
    return serve_write(
        call, fingerprint(request, body), lambda declined: book.confirm(ref, declined=declined)
    )


@endpoint("POST")
def capture(request: HttpRequest, ref: str) -> HttpResponse:
    """Take the money that is held."""
    body = read_object(request, "amount")
    amount = amount_of(body, required=False)
    call = call_of(request, "capture", intent=ref)
    return serve_write(
        call,
        fingerprint(request, body),
        lambda declined: book.capture(ref, amount=amount, declined=declined),
    )


@endpoint("POST")
def cancel(request: HttpRequest, ref: str) -> HttpResponse:
    """Close an intent for good."""
    body = read_object(request)
    call = call_of(request, "cancel", intent=ref)
    return serve_write(call, fingerprint(request, body), lambda _: book.cancel(ref))


@endpoint("GET", "POST")
def refunds(request: HttpRequest) -> HttpResponse:
    """Give money back, or list what was given back under a reference."""
    if request.method == "POST":
        return _refund(request)
    reference = text_of(request.GET.dict(), "reference")
    call = call_of(request, "list", reference=reference)
    return serve_read(call, lambda: _refund_page(reference))


@endpoint("GET")
def balance(request: HttpRequest) -> HttpResponse:
    """Show the provider's own sums."""
    call = call_of(request, "balance")
    return serve_read(call, lambda: Answer(status=200, body=dumps(book.balance())))


def healthz(_request: HttpRequest) -> HttpResponse:
    """Say that the process and its database answer."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return respond(200, dumps({"status": "ok"}))


def not_found(_request: HttpRequest, exception: Exception) -> HttpResponse:
    """Refuse an address that is not there."""
    problem = Problem(404, "unknown_address", f"There is nothing here. {type(exception).__name__}")
    return respond(404, dumps(problem.payload))


def out_of_order(_request: HttpRequest) -> HttpResponse:
    """Admit a fault of our own."""
    problem = Problem(500, "internal", "Something went wrong on our side.", kind="api_error")
    return respond(500, dumps(problem.payload))


def _prepare(request: HttpRequest) -> HttpResponse:
    allowed = ("amount", "currency", "payment_method", "reference", "metadata")
    body = read_object(request, *allowed)
    amount = amount_of(body, required=True)
    currency = currency_of(body)
    card = text_of(body, "payment_method", 64)
    reference = text_of(body, "reference")
    metadata = metadata_of(body)
    if card not in CARDS:
        raise Problem(400, "unknown_payment_method", "There is no such payment method.")
    call = call_of(request, "prepare", reference=reference)
    call.card = card

    def effect(_declined: str | None) -> Answer:
        answer = book.prepare(
            amount=amount or 0,
            currency=currency,
            card=card,
            reference=reference,
            metadata=metadata,
        )
        call.intent = answer.subject["id"]
        return answer

    return serve_write(call, fingerprint(request, body), effect)


def _refund(request: HttpRequest) -> HttpResponse:
    body = read_object(request, "intent", "amount", "reference", "metadata")
    amount = amount_of(body, required=True)
    ref = text_of(body, "intent", 64)
    reference = text_of(body, "reference")
    metadata = metadata_of(body)
    call = call_of(request, "refund", intent=ref)
    return serve_write(
        call,
        fingerprint(request, body),
        lambda _: book.refund(
            intent=ref, amount=amount or 0, reference=reference, metadata=metadata
        ),
    )


def _list_intents(request: HttpRequest) -> HttpResponse:
    filters = request.GET.dict()
    limit = _limit_of(filters)
    reference = filters.get("reference", "")
    position = _position_of(filters.get("after", ""))
    call = call_of(request, "list", reference=reference)
    return serve_read(call, lambda: _intent_page(reference, position, limit))


def _intent_page(reference: str, position: int, limit: int) -> Answer:
    found = records(
        """SELECT * FROM simulator_intent
            WHERE position > %s AND (%s = '' OR reference = %s) ORDER BY position LIMIT %s""",
        position,
        reference,
        reference,
        limit + 1,
    )
    return _page([book.intent_json(intent) for intent in found], limit)


def _refund_page(reference: str) -> Answer:
    found = records(
        "SELECT * FROM simulator_refund WHERE reference = %s ORDER BY id LIMIT %s",
        reference,
        MAX_PAGE + 1,
    )
    return _page([book.refund_json(refund) for refund in found], MAX_PAGE)


def _page(objects: list[JsonObject], limit: int) -> Answer:
    page = {"data": objects[:limit], "has_more": len(objects) > limit}
    return Answer(status=200, body=dumps(page))


def _limit_of(filters: Mapping[str, Any]) -> int:
    text = filters.get("limit", str(PAGE))
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= MAX_PAGE:
        raise Problem(400, "invalid_limit", f"limit is a number from 1 to {MAX_PAGE}.")
    return int(text)


def _position_of(ref: str) -> int:
    if not ref:
        return 0
    found = row("SELECT position FROM simulator_intent WHERE ref = %s", ref)
    if found is None:
        raise Problem(400, "unknown_intent", "after names no intent.")
    return int(found[0])
