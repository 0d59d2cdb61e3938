"""Gives every request its correlation, so that all it causes can be found again."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from django.http import HttpRequest, HttpResponse

from sagas import correlation
from sagas.spans import span

REQUEST_ID: Final = re.compile(r"^[A-Za-z0-9._-]{8,64}$")


class CorrelateRequests:
    """Goes on from the caller's trace context and request id when they are well formed."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        """Keep the next middleware."""
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request under its correlation and name it in the answer."""
        given = request.headers.get("X-Request-ID", "")
        current = correlation.begin(
            traceparent=request.headers.get("traceparent"),
            correlation_id=given if REQUEST_ID.match(given) else None,
        )
        with (
            correlation.correlated(replace(current, actor=correlation.VISITOR)),
            span("request", "server", method=request.method or ""),
        ):
            response = self.get_response(request)
        response.headers.setdefault("X-Request-ID", current.correlation_id)
        return response
