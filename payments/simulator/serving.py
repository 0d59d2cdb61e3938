"""The way of every call: fault, key, effect, log, answer."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed

from payments.simulator import events, faults
from payments.simulator.calls import Call
from payments.simulator.database import in_transaction, row
from payments.simulator.idempotency import once
from payments.simulator.wire import (
    Answer,
    Problem,
    check_key_of_account,
    dumps,
    idempotency_key,
    respond,
)

Args = ParamSpec("Args")
View = Callable[Concatenate[HttpRequest, Args], HttpResponse]


def endpoint(*methods: str) -> Callable[[View[Args]], View[Args]]:
    """Let in who has the key and speaks the right method; write refusals as JSON."""

    def decorate(view: View[Args]) -> View[Args]:
        @wraps(view)
        def guarded(
            request: HttpRequest, /, *args: Args.args, **kwargs: Args.kwargs
        ) -> HttpResponse:
            if request.method not in methods:
                return HttpResponseNotAllowed(methods)
            try:
                check_key_of_account(request)
                return view(request, *args, **kwargs)
            except Problem as problem:
                return respond(problem.status, dumps(problem.payload), problem.headers)

        return guarded

    return decorate


def call_of(request: HttpRequest, operation: str, *, intent: str = "", reference: str = "") -> Call:
    """Describe the call that a request makes; of an intent, its reference and card are looked up.

    :raises Problem: 404 for an intent that is not there
    """
    card = ""
    if intent:
        known = row("SELECT reference, payment_method FROM simulator_intent WHERE ref = %s", intent)
        if known is None:
            raise Problem(404, "unknown_intent", "There is no such intent.")
        reference, card = known
    return Call(
        operation=operation,
        key=idempotency_key(request),
        intent=intent,
        reference=reference,
        card=card,
        correlation_id=request.headers.get("X-Correlation-ID", "")[:64],
        traceparent=request.headers.get("traceparent", "")[:64],
        connection=request.META.get("gunicorn.socket"),
    )


def serve_read(call: Call, find: Callable[[], Answer]) -> HttpResponse:
    """Answer a call that changes nothing."""
    return _serve(call, find)


def serve_write(
    call: Call, fingerprint: str, effect: Callable[[str | None], Answer]
) -> HttpResponse:
    """Answer a call that moves something; the effect is told the code if the card is declined."""

    def once_and_logged() -> Answer:
        with in_transaction():
            answer = once(
                call.key,
                fingerprint,
                lambda: (
                    faults.refused(call.fault)
                    or faults.spoiled(call.fault, effect(faults.declined(call.fault)))
                ),
            )
            events.enqueue(answer)
            call.answered(answer)
        if answer.event and not answer.replayed:
            events.waiting.set()
        return answer

    return _serve(call, once_and_logged, logs=True)


def _serve(call: Call, run: Callable[[], Answer], *, logs: bool = False) -> HttpResponse:
    call.fault = faults.strike(call)
    if call.fault:
        call.received()
    try:
        early = faults.before(call.fault, call) if call.fault else None
        if early is not None:
            return early
        answer = run()
    except Problem as problem:
        call.answered(Answer(status=problem.status, body="", code=problem.code))
        raise
    if not logs:
        call.answered(answer)
    late = faults.after(call.fault, call) if call.fault else None
    if late is not None:
        return late
    headers = {"Idempotency-Replayed": "true"} if answer.replayed else None
    return respond(answer.status, answer.body, headers)
