"""Answers to requests that cannot be read, and to those that the database cannot serve now."""

import logging
import sys
from collections.abc import Callable
from typing import Final

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseServerError
from django.template.loader import render_to_string

RETRY_AFTER_SECONDS: Final = 5

log = logging.getLogger(__name__)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Say that a request cannot be read, without reading it.

    Django's own answer looks for a form first, and fails where that is what cannot be read.
    """
    return HttpResponseBadRequest(render_to_string("400.html"))


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer for what no page could answer for itself, such as the page of a 404."""
    return _away(sys.exc_info()[1]) or HttpResponseServerError(render_to_string("500.html"))


def _away(raised: BaseException | None) -> HttpResponse | None:
    if not isinstance(raised, OperationalError | InterfaceError):
        return None
    # Not with the request: who asks stands in the database.
    response = HttpResponse(render_to_string("503.html"), status=503)
    response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


class DatabaseAway:
    """Turns "the database does not answer" into 503: the same request may be sent again."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        """Keep the next middleware."""
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request."""
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Answer for a page that failed for want of the database."""
        answer = _away(exception)
        if answer is not None:
            log.error("request_unanswered", exc_info=exception)
        return answer
