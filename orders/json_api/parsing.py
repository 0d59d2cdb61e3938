"""Reading a body: strictly, since a field that is silently ignored is a wrong order."""

import json
from collections.abc import Sequence
from typing import Any, Final, NoReturn

from django.http import HttpRequest
from ninja.parser import Parser

from orders.json_api.problems import Problem

LARGEST_BODY: Final = 256 * 1024


class StrictParser(Parser):
    """Takes one JSON object, declared as such and not too large."""

    def parse_body(self, request: HttpRequest) -> dict[str, Any]:
        """Return the object.

        :raises Problem: if the body is none
        """
        if request.content_type and "json" not in request.content_type:
            raise Problem("unsupported_media_type")
        if len(request.body) > LARGEST_BODY:
            raise Problem("body_too_large")
        try:
            said = json.loads(request.body, object_pairs_hook=_each_once, parse_constant=_no_number)
        except RecursionError:
            raise Problem("malformed_body", "The body is nested too deeply.") from None
        except ValueError as wrong:
            raise Problem("malformed_body", f"The body is not JSON: {wrong}.") from wrong
        if not isinstance(said, dict):
            raise Problem("malformed_body", "The body is JSON, but not an object.")
        return said


def _each_once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    said = dict(pairs)
    if len(said) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} stands there twice")
    return said


def _no_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")
