"""POSTs of programs: each needs an Idempotency-Key and has its effect once."""

import json
from collections.abc import Mapping
from typing import Final

from django.http import HttpResponse
from ninja import Schema
from ninja.responses import NinjaJSONEncoder

from orders.json_api.access import ApiRequest
from orders.json_api.problems import MEDIA_TYPE, Problem
from orders.refusals import OrderRefused
from sagas.idempotency.http import (
    HEADER,
    Answer,
    Prepare,
    answer_once,
    key_in_header,
    keyed,
    response_of,
)

KEY_PARAMETER: Final = {
    "parameters": [
        {
            "in": "header",
            "name": HEADER,
            "required": True,
            "schema": {"type": "string", "minLength": 1, "maxLength": 255},
            "description": "A fresh one for every new request, the same one when it is repeated.",
        }
    ]
}


def answered_once(request: ApiRequest, prepare: Prepare) -> HttpResponse:
    """Answer a request that must have its effect once.

    :raises KeyMissing: if the request has no key, and likewise for what else is wrong with it
    """
    keyed_request = keyed(
        request,
        context="orders",
        principal=f"customer:{request.auth.id}",
        key=key_in_header(request),
    )
    return response_of(answer_once(keyed_request, prepare, refusals=(OrderRefused,)))


def document(status: int, body: Schema, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an answer with a document in it."""
    return Answer(
        status=status,
        body=json.dumps(body.model_dump(), cls=NinjaJSONEncoder),
        headers={"Content-Type": "application/json; charset=utf-8", **(headers or {})},
    )


def refusal(request: ApiRequest, problem: Problem) -> Answer:
    """Return a problem as an answer that is kept: decided once, and for good."""
    content = problem.document(request)
    # Every copy of a request has an id of its own.
    content["request_id"] = None
    return Answer(
        status=content["status"], body=json.dumps(content), headers={"Content-Type": MEDIA_TYPE}
    )
