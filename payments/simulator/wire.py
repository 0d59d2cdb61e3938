"""Requests in, answers out: reading, refusing and writing JSON."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare

from payments.simulator import settings

MAX_AMOUNT = 10**12
CURRENCY = re.compile(r"[A-Z]{3}\Z")
JsonObject = dict[str, Any]


class Problem(Exception):
    """A request that was refused before it had any effect; never stored under its key."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        kind: str = "invalid_request",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Make the refusal with the status, code and text of its answer."""
        super().__init__(status, code, message)  # all that it needs to be made anew
        self.status = status
        self.code = code
        self.headers = headers or {}
        self.payload = error(kind, code, message)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a call is told, and what it did."""

    status: int
    body: str
    code: str = ""
    executed: bool = False
    replayed: bool = False
    event: str = ""
    """Type of the event to be sent, empty for none."""
    subject: JsonObject = field(default_factory=dict)
    """The object the event is about."""


def error(kind: str, code: str, message: str) -> JsonObject:
    """Return the body of a refusal."""
    return {"error": {"type": kind, "code": code, "message": message}}


def dumps(payload: JsonObject) -> str:
    """Write JSON the one way all bodies are written."""
    return json.dumps(payload, separators=(",", ":"), ensure_ascii=False)


def respond(status: int, body: str, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """Build the HTTP answer, with its length so that the connection stays open."""
    raw = body.encode()
    response = HttpResponse(raw, status=status, content_type="application/json")
    response.headers["Content-Length"] = str(len(raw))
    for name, value in (headers or {}).items():
        response.headers[name] = value
    return response


def check_key_of_account(request: HttpRequest) -> None:
    """Refuse who does not show the key of the account.

    :raises Problem: 401
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    known = settings.SIMULATOR_API_KEY
    if (
        scheme.lower() != "bearer"
        or not token
        or (known and not constant_time_compare(token, known))
    ):
        raise Problem(
            401, "invalid_key", "Send Authorization: Bearer <key>.", kind="authentication"
        )


def read_object(request: HttpRequest, *allowed: str) -> JsonObject:
    """Read the body, an object with none but the allowed members; an empty body is ``{}``.

    :raises Problem: 400 or 413
    """
    try:
        raw = request.body
    except RequestDataTooBig as too_big:
        raise Problem(413, "body_too_large", "The body is larger than 64 KiB.") from too_big
    try:
        body = json.loads(raw or b"{}")
    except (ValueError, RecursionError) as nonsense:
        raise Problem(400, "invalid_json", "The body is not JSON.") from nonsense
    if not isinstance(body, dict):
        raise Problem(400, "invalid_json", "The body is not a JSON object.")
    for name in body:
        if name not in allowed:
            raise Problem(400, "unknown_parameter", f"There is no parameter {name[:64]!r}.")
    return body


def fingerprint(request: HttpRequest, body: JsonObject) -> str:
    """Return what makes two requests the same request."""
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{request.path}\n{canonical}".encode()).hexdigest()


def idempotency_key(request: HttpRequest) -> str:
    """Return the key sent with the request, or an empty text.

    :raises Problem: 400 for a key that is too long
    """
    key = request.headers.get("Idempotency-Key", "").strip()
    if len(key) > 255:
        raise Problem(400, "invalid_idempotency_key", "An idempotency key has 255 characters.")
    return _without_nul(key, "Idempotency-Key")


def amount_of(body: JsonObject, *, required: bool) -> int | None:
    """Return the positive amount in minor units.

    :raises Problem: 400
    """
    amount = body.get("amount")
    if amount is None and not required:
        return None
    if not isinstance(amount, int) or isinstance(amount, bool) or not 0 < amount <= MAX_AMOUNT:
        raise Problem(400, "invalid_amount", "amount is a positive integer of minor units.")
    return amount


def text_of(body: Mapping[str, Any], name: str, longest: int = 200) -> str:
    """Return a text that must be there.

    :raises Problem: 400
    """
    text = body.get(name)
    if not isinstance(text, str) or not text or len(text) > longest:
        raise Problem(400, f"invalid_{name}", f"{name} is a text of 1 to {longest} characters.")
    return _without_nul(text, name)


def currency_of(body: JsonObject) -> str:
    """Return the currency.

    :raises Problem: 400
    """
    currency = body.get("currency")
    if not isinstance(currency, str) or not CURRENCY.match(currency):
        raise Problem(400, "invalid_currency", "currency is three capital letters.")
    return currency


def metadata_of(body: JsonObject) -> JsonObject:
    """Return the caller's own notes, texts by name.

    :raises Problem: 400
    """
    metadata = body.get("metadata", {})
    if (
        not isinstance(metadata, dict)
        or len(metadata) > 20
        or not all(isinstance(value, str) and len(value) <= 500 for value in metadata.values())
    ):
        raise Problem(400, "invalid_metadata", "metadata is at most 20 texts by name.")
    for name, value in metadata.items():
        _without_nul(name + value, "metadata")
    return metadata


def _without_nul(text: str, name: str) -> str:
    # PostgreSQL refuses both; without this the caller would be told 500.
    if any(char == "\0" or "\ud800" <= char <= "\udfff" for char in text):
        raise Problem(400, "invalid_text", f"{name} holds a character that cannot be stored.")
    return text
