"""What a program is told when a request cannot be answered: problem details after RFC 9457.

Every kind of problem has one code, which never changes, and one place in ``docs/http-api.md``.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from django.http import HttpRequest, HttpResponse

from orders.refusals import Refusal
from sagas.api import correlation

MEDIA_TYPE: Final = "application/problem+json"
DOCUMENT: Final = "/docs/http-api"
FRESH_KEY: Final = "Send a fresh Idempotency-Key with every new request, a UUID for instance."


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """One kind of problem."""

    status: int
    title: str
    remedy: str


KINDS: Final[Mapping[str, Kind]] = {
    "unauthorized": Kind(
        status=401,
        title="The request does not say who asks.",
        remedy="Send the header Authorization: Bearer with a token that is not revoked.",
    ),
    "not_found": Kind(
        status=404,
        title="There is nothing here for you.",
        remedy="Check the address, and that it belongs to the customer of the token.",
    ),
    "method_not_allowed": Kind(
        status=405,
        title="This address does not take that method.",
        remedy="Use one of the methods in the header Allow.",
    ),
    "idempotency_key_missing": Kind(
        status=400, title="The request has no Idempotency-Key.", remedy=FRESH_KEY
    ),
    "idempotency_key_malformed": Kind(
        status=400,
        title="The Idempotency-Key is not 1 to 255 visible ASCII characters.",
        remedy=FRESH_KEY,
    ),
    "idempotency_key_repeated": Kind(
        status=400,
        title="The request has more than one Idempotency-Key.",
        remedy="Send the header once; a bare key has no comma.",
    ),
    "idempotency_key_in_use": Kind(
        status=409,
        title="A request with this Idempotency-Key is being worked on.",
        remedy="Send the same request again after the time in Retry-After.",
    ),
    "idempotency_key_reused": Kind(
        status=422,
        title="This Idempotency-Key belongs to another request.",
        remedy="Use a fresh key, or send the first request unchanged.",
    ),
    "malformed_request": Kind(
        status=400,
        title="The request cannot be read.",
        remedy="Send fewer parameters, and a body that is what it is declared to be.",
    ),
    "malformed_body": Kind(
        status=400, title="The body is not a JSON object.", remedy="Send well-formed JSON."
    ),
    "body_too_large": Kind(
        status=413, title="The body is too large.", remedy="Send at most 256 KiB."
    ),
    "unsupported_media_type": Kind(
        status=415,
        title="The body is not declared as JSON.",
        remedy="Send Content-Type: application/json.",
    ),
    "invalid_fields": Kind(
        status=422,
        title="Some fields of the request are wrong.",
        remedy="Correct the fields listed under errors.",
    ),
    "order_refused": Kind(
        status=422,
        title="The order cannot be placed as it stands.",
        remedy="Correct what is listed under errors.",
    ),
    "too_late": Kind(
        status=409,
        title="The order can no longer be canceled.",
        remedy="Send the goods back when they have arrived.",
    ),
    "already_closed": Kind(
        status=409,
        title="The order has come to nothing already.",
        remedy="Nothing is left to cancel, and nothing was charged.",
    ),
    "unavailable": Kind(
        status=503,
        title="The shop cannot answer at the moment.",
        remedy="Send the same request, with the same key, after the time in Retry-After.",
    ),
    "internal_error": Kind(
        status=500,
        title="Something went wrong on our side.",
        remedy="Send the same request, with the same key, again; tell us the request_id if it "
        "goes on.",
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldProblem:
    """What is wrong with one field, and the way out."""

    field: str
    code: str
    detail: str
    remedy: str


class Problem(Exception):
    """A request cannot be answered, and this is why."""

    def __init__(
        self,
        code: str,
        detail: str = "",
        errors: Sequence[FieldProblem] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Say which kind of problem it is, and what is particular about this one."""
        super().__init__(code, detail)
        self.code = code
        self.detail = detail
        self.errors = errors
        self.headers = headers or {}

    def document(self, request: HttpRequest) -> dict[str, Any]:
        """Return the members of the problem details."""
        kind = KINDS[self.code]
        current = correlation.current()
        return {
            "type": f"{DOCUMENT}#{self.code}",
            "title": kind.title,
            "status": kind.status,
            "detail": self.detail or f"{kind.title} {kind.remedy}",
            "instance": request.path,
            "code": self.code,
            "remedy": kind.remedy,
            "request_id": current.correlation_id if current is not None else None,
            "errors": [asdict(error) for error in self.errors],
        }

    def response(self, request: HttpRequest) -> HttpResponse:
        """Return the problem as a response."""
        return HttpResponse(
            json.dumps(self.document(request)),
            status=KINDS[self.code].status,
            headers={"Content-Type": MEDIA_TYPE, **self.headers},
        )


def field_problem(refusal: Refusal) -> FieldProblem:
    """Return a refusal of the shop as a problem of a field."""
    return FieldProblem(
        field=refusal.field, code=refusal.code, detail=refusal.message, remedy=refusal.remedy
    )
