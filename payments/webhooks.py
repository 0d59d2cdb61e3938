"""What the provider tells by itself.

An event is kept as it came, once, with the payment it belongs to; it never moves money or a
status here.  The saga that is waiting asks the provider itself (``payments/inquiry.py``), and
its answer is fresher than any event, which may be late, doubled or out of order.  So recording is
all that is needed for an event to be harmless in any order, and enough for it to be evidence: an
event that names nothing of ours is parked, for reconciliation or a person to look at.
"""

import json
import logging
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from payments.models import Payment, WebhookEvent, WebhookState
from payments.signatures import BadSignature, verify
from sagas.api import clock, transaction

LARGEST_BODY = 64 * 1024
PROVIDER = "simulator"
TYPES = frozenset(
    {
        "intent.prepared",
        "intent.authorized",
        "intent.captured",
        "intent.canceled",
        "intent.declined",
        "refund.succeeded",
    }
)

log = logging.getLogger(__name__)


class Unreadable(Exception):
    """A message that is signed but says nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Told:
    event_ref: str
    type: str
    provider_ref: str
    payment_id: UUID | None


@csrf_exempt
@require_POST
def simulator(request: HttpRequest) -> HttpResponse:
    """Take an event of the simulated provider; the 200 says that it is committed."""
    raw = _body(request)
    if raw is None:
        return HttpResponse(status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    try:
        verify(
            raw,
            request.headers.get("Sim-Signature", ""),
            secrets=settings.WEBHOOK_SECRETS,
            # The real clock: the provider's does not travel in time with ours.
            now=clock.real().timestamp(),
        )
        told = _read(raw)
    except (BadSignature, Unreadable) as refused:
        log.warning("webhook_refused", extra={"provider": PROVIDER, "error": str(refused)})
        return HttpResponse(status=HTTPStatus.BAD_REQUEST)
    _record(told, raw)
    return HttpResponse(status=HTTPStatus.OK)


def _body(request: HttpRequest) -> bytes | None:
    length = request.META.get("CONTENT_LENGTH") or "0"
    if not length.isascii() or not length.isdigit() or int(length[:12]) > LARGEST_BODY:
        return None
    return request.read(LARGEST_BODY)


def _read(raw: bytes) -> _Told:
    try:
        event = json.loads(raw)
        subject = event["data"]["object"]
        return _Told(
            event_ref=_text(event["id"]),
            type=_text(event["type"]),
            provider_ref=_text(subject.get("intent") or subject["id"]),
            payment_id=_uuid(subject.get("reference")),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as unreadable:
        raise Unreadable(type(unreadable).__name__) from unreadable


def _text(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 200 or "\0" in value:
        raise ValueError
    # JSON can spell half of a surrogate pair, which no database can keep.
    value.encode()
    return value


def _uuid(value: Any) -> UUID | None:
    try:
        return UUID(value)
    except (ValueError, TypeError, AttributeError):
        return None


def _record(told: _Told, raw: bytes) -> None:
    with transaction("payments"):
        payment_id = _payment_of(told)
        if told.type not in TYPES:
            state = WebhookState.IGNORED
        else:
            state = WebhookState.PARKED if payment_id is None else WebhookState.RECORDED
        event = WebhookEvent(
            provider=PROVIDER,
            event_ref=told.event_ref,
            type=told.type,
            provider_ref=told.provider_ref,
            payment_id=payment_id,
            body=raw,
            state=state,
        )
        # A duplicate is no error: the provider sends until it has heard a 200.
        WebhookEvent.objects.bulk_create([event], ignore_conflicts=True)


def _payment_of(told: _Told) -> UUID | None:
    """Return the payment of ours: by its id first, which we tell the provider with the first call.

    The provider's name of it may reach us by an event before it reaches us as an answer.
    """
    payments = Payment.objects.order_by()
    if told.payment_id is not None and payments.filter(id=told.payment_id).exists():
        return told.payment_id
    return payments.filter(provider_ref=told.provider_ref).values_list("id", flat=True).first()
