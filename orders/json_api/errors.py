"""Exceptions to problem details, so that a program never gets an error in another form."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from django.core.exceptions import BadRequest, RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

from orders.json_api.problems import FieldProblem, Problem, field_problem
from orders.refusals import OrderRefused, Refusal, UnknownOrder
from sagas.idempotency.http import (
    RETRY_AFTER_SECONDS,
    KeyInUse,
    KeyMalformed,
    KeyMissing,
    KeyReused,
    SeveralKeys,
)

log = logging.getLogger(__name__)

SOON: Final = {"Retry-After": str(RETRY_AFTER_SECONDS)}
Handler = Callable[[HttpRequest, Any], HttpResponse]

_SIMPLE: Final[Mapping[type[Exception], Problem]] = {
    AuthenticationError: Problem("unauthorized", headers={"WWW-Authenticate": "Bearer"}),
    Http404: Problem("not_found"),
    RequestDataTooBig: Problem("body_too_large"),
    SuspiciousOperation: Problem("malformed_request"),
    BadRequest: Problem("malformed_request"),
    MultiPartParserError: Problem("malformed_request"),
    UnreadablePostError: Problem("malformed_request"),
    KeyMissing: Problem("idempotency_key_missing"),
    KeyMalformed: Problem("idempotency_key_malformed"),
    SeveralKeys: Problem("idempotency_key_repeated"),
    KeyInUse: Problem("idempotency_key_in_use", headers=SOON),
    KeyReused: Problem("idempotency_key_reused"),
}
_WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "missing": ("is missing", "Give it."),
    "extra_forbidden": ("is not known", "Leave it out, or check how it is written."),
    "int_type": ("is not a whole number", "Give a number without quotes and without a point."),
    "string_type": ("is not a text", "Give a text in quotes."),
    "string_pattern_mismatch": ("has characters that it cannot have", "Leave them out."),
    "list_type": ("is not a list", "Give a list, also for one."),
    "too_long": ("has too many entries", "Split the request."),
    "uuid_parsing": ("is not an id", "Give an id as it was given to you."),
}
_OTHERWISE: Final = ("is not as it should be", "Correct it and send the request again.")


def install(api: NinjaAPI) -> None:
    """Let the interface answer every exception with problem details."""
    for exception, problem in _SIMPLE.items():
        api.add_exception_handler(exception, _always(problem))
    for exception, handler in _handlers().items():
        api.add_exception_handler(exception, handler)


def _handlers() -> Mapping[type[Exception], Handler]:
    return {
        Problem: _itself,
        HttpError: _of_ninja,
        ValidationError: _fields,
        OrderRefused: _refused,
        Refusal: _refused_once,
        UnknownOrder: _unknown_order,
        OperationalError: _unavailable,
        InterfaceError: _unavailable,
        Exception: _unexpected,
    }


def _always(problem: Problem) -> Handler:
    def answer(request: HttpRequest, raised: Exception) -> HttpResponse:
        return problem.response(request)

    return answer


def _itself(request: HttpRequest, raised: Problem) -> HttpResponse:
    return raised.response(request)


def _of_ninja(request: HttpRequest, raised: HttpError) -> HttpResponse:
    # What the parser raises arrives wrapped.
    if isinstance(raised.__cause__, Problem):
        return raised.__cause__.response(request)
    return Problem("malformed_body", str(raised)).response(request)


def _fields(request: HttpRequest, raised: ValidationError) -> HttpResponse:
    errors = [_field(error) for error in raised.errors]
    if any(error.field == "body" for error in errors):
        detail = "" if request.body else "The request has no body."
        return Problem("malformed_body", detail).response(request)
    return Problem("invalid_fields", _in_one_line(errors), errors).response(request)


def _field(error: Mapping[str, Any]) -> FieldProblem:
    name = _path(error["loc"])
    words, remedy = _WORDS.get(error["type"], (_OTHERWISE[0], _OTHERWISE[1]))
    return FieldProblem(field=name, code=error["type"], detail=f"{name} {words}.", remedy=remedy)


def _path(location: Sequence[str | int]) -> str:
    # The first part says body, query or path, the second of a body its name in the code.
    source, *rest = location
    parts = rest[1:] if source == "body" else rest
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return path.lstrip(".") or str(source)


def _refused(request: HttpRequest, raised: OrderRefused) -> HttpResponse:
    errors = [field_problem(refusal) for refusal in raised.problems]
    return Problem("order_refused", _in_one_line(errors), errors).response(request)


def _refused_once(request: HttpRequest, raised: Refusal) -> HttpResponse:
    errors = [field_problem(raised)]
    return Problem("invalid_fields", _in_one_line(errors), errors).response(request)


def _unknown_order(request: HttpRequest, raised: UnknownOrder) -> HttpResponse:
    if raised.field == "after":
        return _refused_once(request, raised)
    return Problem("not_found").response(request)


def _in_one_line(errors: Sequence[FieldProblem]) -> str:
    return " ".join(f"{error.detail} {error.remedy}" for error in errors[:3])


def _unavailable(request: HttpRequest, raised: Exception) -> HttpResponse:
    log.error("request_unanswered", exc_info=raised)
    return Problem("unavailable", headers=SOON).response(request)


def _unexpected(request: HttpRequest, raised: Exception) -> HttpResponse:
    log.error("request_failed", exc_info=raised)
    return Problem("internal_error").response(request)
