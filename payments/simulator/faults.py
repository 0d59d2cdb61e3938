"""Misfortunes: which one strikes a call, and what it does.

A call that hangs or is slow holds neither a transaction nor a lock meanwhile, and lets go of its
database connection.
"""

import select
import socket
import threading
import time

from django.db import connection
from django.http import HttpResponse

from payments.simulator import settings
from payments.simulator.calls import Call
from payments.simulator.cards import Fault, standing_fault
from payments.simulator.database import changed, row
from payments.simulator.idempotency import key_in_progress
from payments.simulator.wire import Answer, Problem, dumps, error, respond

SLICE_SECONDS = 0.25
stopping = threading.Event()
"""Set when the process is asked to end, so that no call holds it up."""


def strike(call: Call) -> Fault | None:
    """Return the fault meant for this call and use it up: scripted ones first, then the card."""
    while True:
        found = row(
            """SELECT id, action, seconds, code, remaining FROM simulator_fault
                WHERE operation IN (%s, 'any') AND (reference IS NULL OR reference IN (%s, %s))
                AND (key IS NULL OR key = %s) ORDER BY id LIMIT 1""",
            call.operation,
            call.reference,
            call.intent or call.reference,
            call.key,
        )
        if found is None:
            return standing_fault(call.card, call.operation)
        number, action, seconds, code, remaining = found
        if remaining is None or _used_up(number, remaining):
            return Fault(operation=call.operation, action=action, seconds=seconds, code=code)


def _used_up(number: int, remaining: int) -> bool:
    # False when a call beside this one was faster; it is then asked anew.
    if remaining == 1:
        return bool(changed("DELETE FROM simulator_fault WHERE id = %s AND remaining = 1", number))
    statement = """UPDATE simulator_fault SET remaining = remaining - 1
        WHERE id = %s AND remaining > 1"""
    return bool(changed(statement, number))


def before(fault: Fault, call: Call) -> HttpResponse | None:
    """Do what the fault does to a call before it has any effect; an answer ends the call.

    :raises Problem: for the faults that are a plain refusal
    """
    if fault.action == "slow":
        connection.close()
        if stopping.wait(_seconds(fault)):
            return cut(call)
    elif fault.action == "hang_before":
        return hang(fault, call)
    elif fault.action == "drop_before":
        return cut(call)
    elif fault.action in REFUSALS:
        refusal = REFUSALS[fault.action]()
        raise refusal
    return None


def declined(fault: Fault | None) -> str | None:
    """Return the code with which the card is declined, if it is."""
    if fault is None or fault.action != "decline":
        return None
    return fault.code or "generic_decline"


def refused(fault: Fault | None) -> Answer | None:
    """Return the no that has nothing to do with the card, if that is what the fault is."""
    if fault is None or fault.action != "refuse":
        return None
    code = fault.code or "account_restricted"
    said = error("invalid_request", code, "The account may not do this now.")
    return Answer(status=403, body=dumps(said), code=code)


def spoiled(fault: Fault | None, answer: Answer) -> Answer:
    """Turn an answer into the 500 that is stored in its place, the effect standing."""
    if fault is None or fault.action != "error_after":
        return answer
    body = dumps(error("api_error", "internal", "Something went wrong on our side."))
    return Answer(
        status=500,
        body=body,
        code="internal",
        executed=answer.executed,
        event=answer.event,
        subject=answer.subject,
    )


def after(fault: Fault, call: Call) -> HttpResponse | None:
    """Do what the fault does to a call whose effect is committed."""
    if fault.action == "hang_after":
        return hang(fault, call)
    if fault.action == "drop_after":
        return cut(call)
    return None


def hang(fault: Fault, call: Call) -> HttpResponse:
    """Say nothing until the time is over or the caller has hung up, then cut the line."""
    connection.close()
    give_up_at = time.monotonic() + _seconds(fault)
    while not stopping.is_set() and (left := give_up_at - time.monotonic()) > 0:
        pause = min(left, SLICE_SECONDS)
        if call.connection is None:
            stopping.wait(pause)
        elif _hung_up(call.connection, pause):
            break
    return cut(call)


def cut(call: Call) -> HttpResponse:
    """Close the connection without an answer."""
    if call.connection is not None:
        try:
            call.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            # The caller was faster.
            pass
    return respond(504, "")


def _hung_up(line: socket.socket, seconds: float) -> bool:
    try:
        poll = select.poll()
        poll.register(line, select.POLLIN)
        return bool(poll.poll(seconds * 1000)) and not line.recv(1, socket.MSG_PEEK)
    except OSError:
        return True


def _seconds(fault: Fault) -> float:
    if fault.seconds is not None:
        return fault.seconds
    return settings.SIMULATOR_HANG_SECONDS


def _out_of_order() -> Problem:
    return Problem(500, "internal", "Something went wrong on our side.", kind="api_error")


def _too_many() -> Problem:
    return Problem(
        429,
        "rate_limited",
        "Too many requests.",
        kind="rate_limited",
        headers={"Retry-After": "1"},
    )


REFUSALS = {"error_before": _out_of_order, "busy": _too_many, "in_progress": key_in_progress}
