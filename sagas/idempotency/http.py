"""Requests over HTTP that must have their effect once: their key, their scope, their answer.

The key of a program stands in the header ``Idempotency-Key`` (quoted, as the draft standard has
it, or bare); that of a form in a hidden field. The rules are told to callers in
``docs/http-api.md``. This is the front door for contexts: the rest of the package is behind it.
"""

import hashlib
import json
import re
from typing import Final

from django.http import HttpRequest, HttpResponse

from sagas.core.errors import SagasError
from sagas.idempotency.records import (
    Answer,
    KeyedRequest,
    KeyInUse,
    KeyReused,
    Perform,
    Prepare,
    answer_once,
)
from sagas.ids import uuid7

__all__ = [
    "FIELD",
    "HEADER",
    "RETRY_AFTER_SECONDS",
    "Answer",
    "KeyInUse",
    "KeyMalformed",
    "KeyMissing",
    "KeyReused",
    "KeyedRequest",
    "Perform",
    "Prepare",
    "SeveralKeys",
    "answer_once",
    "fingerprint",
    "fresh_key",
    "key_in_form",
    "key_in_header",
    "keyed",
    "response_of",
]

HEADER: Final = "Idempotency-Key"
FIELD: Final = "idempotency_key"
RETRY_AFTER_SECONDS: Final = 1

# A server joins two headers of one name with a comma, so a bare key has none.
_BARE: Final = re.compile(r"[!#-+\--~]{1,255}")
_QUOTED: Final = re.compile(r'"((?:[!#-\[\]-~]|\\["\\])*)"')
_SEVERAL: Final = re.compile(r'^[^",]*,|^"(?:[^"\\]|\\.)*"\s*,')
_LONGEST: Final = 255
_NOT_CONTENT: Final = frozenset({FIELD, "csrfmiddlewaretoken"})
_FORMS: Final = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})


class KeyMissing(SagasError):
    """This request needs an Idempotency-Key."""


class KeyMalformed(SagasError):
    """The Idempotency-Key is not 1 to 255 visible ASCII characters, quoted or bare."""


class SeveralKeys(SagasError):
    """A request has one Idempotency-Key."""


def key_in_header(request: HttpRequest) -> str:
    """Return the key a program sent.

    :raises KeyMissing: if there is none
    :raises SeveralKeys: if there is more than one
    :raises KeyMalformed: if it is no key
    """
    given = request.headers.get(HEADER)
    if given is None:
        raise KeyMissing
    return _read(given.strip())


def key_in_form(request: HttpRequest) -> str:
    """Return the key that was hidden in a form.

    :raises KeyMissing: if there is none
    :raises SeveralKeys: if there is more than one
    :raises KeyMalformed: if it is no key
    """
    given = request.POST.getlist(FIELD)
    if not given:
        raise KeyMissing
    if len(given) > 1:
        raise SeveralKeys
    return _read(given[0])


def _read(given: str) -> str:
    if _SEVERAL.match(given):
        raise SeveralKeys
    quoted = _QUOTED.fullmatch(given)
    if quoted is not None:
        key = re.sub(r"\\(.)", r"\1", quoted[1])
        if 1 <= len(key) <= _LONGEST:
            return key
    elif _BARE.fullmatch(given):
        return given
    raise KeyMalformed


def fresh_key() -> str:
    """Return the key to hide in a form."""
    return str(uuid7())


def keyed(request: HttpRequest, *, context: str, principal: str, key: str) -> KeyedRequest:
    """Return the request with all that makes it this request and no other.

    :param principal: who asks, for instance ``customer:<id>``
    """
    match = request.resolver_match
    route = match.route if match is not None else request.path
    return KeyedRequest(
        context=context,
        scope=f"{principal} {request.method} {route}",
        key=key,
        fingerprint=fingerprint(request),
        principal=principal,
    )


def fingerprint(request: HttpRequest) -> str:
    """Return a digest of what the request says; white space and the order of fields say nothing."""
    said = f"{request.method} {request.path}\n".encode() + _canonical_body(request)
    return hashlib.sha256(said).hexdigest()


def _canonical_body(request: HttpRequest) -> bytes:
    if request.content_type in _FORMS:
        fields = sorted(
            (name, values) for name, values in request.POST.lists() if name not in _NOT_CONTENT
        )
        return json.dumps(fields).encode()
    try:
        said = json.loads(request.body)
    except (ValueError, RecursionError):
        return request.body
    return json.dumps(said, sort_keys=True, separators=(",", ":")).encode()


def response_of(answer: Answer) -> HttpResponse:
    """Return the answer as a response; a repeated one says that it is."""
    response = HttpResponse(answer.body, status=answer.status, headers=dict(answer.headers))
    if answer.replayed:
        response.headers["Idempotency-Replayed"] = "true"
    return response
