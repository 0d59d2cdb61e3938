"""The controls of the outside world, for tests and demonstrations."""

from django.db import connection
from django.http import HttpRequest, HttpResponse

from payments.simulator import calls
from payments.simulator.cards import ACTIONS, OPERATIONS
from payments.simulator.database import changed, records, row
from payments.simulator.serving import endpoint
from payments.simulator.wire import JsonObject, Problem, dumps, read_object, respond

MAX_CALLS = 10_000
MAX_SECONDS = 3600
RESET = """TRUNCATE simulator_intent, simulator_refund, simulator_storedanswer, simulator_fault,
    simulator_call, simulator_delivery"""


@endpoint("GET", "POST", "DELETE")
def faults(request: HttpRequest) -> HttpResponse:
    """Script a fault, list what still waits, or call all of them off."""
    if request.method == "POST":
        return respond(201, dumps({"id": _script(read_object(request, *_SCRIPT))}))
    if request.method == "DELETE":
        return respond(200, dumps({"deleted": changed("DELETE FROM simulator_fault")}))
    listed = records(
        """SELECT id, operation, action, reference, key, remaining AS times, seconds, code
            FROM simulator_fault ORDER BY id"""
    )
    return respond(200, dumps({"data": listed}))


@endpoint("GET")
def physical_calls(request: HttpRequest) -> HttpResponse:
    """List what came over the wire, whether answered or not."""
    filters = {
        name: request.GET.get(name, "").replace("\0", "")
        for name in ("reference", "key", "operation")
    }
    return respond(200, dumps({"data": calls.listed(**filters, limit=MAX_CALLS)}))


@endpoint("GET")
def deliveries(_request: HttpRequest) -> HttpResponse:
    """List the events and how their sending stands."""
    found = records(
        """SELECT event_ref AS event, type, attempts, delivered_at IS NOT NULL AS delivered,
                due_at IS NOT NULL AS waiting, last_answer
            FROM simulator_delivery ORDER BY id DESC LIMIT %s""",
        MAX_CALLS,
    )
    listed = found[::-1]
    return respond(200, dumps({"data": listed}))


@endpoint("POST")
def reset(request: HttpRequest) -> HttpResponse:
    """Begin a new world: no intents, no keys, no faults, no log."""
    read_object(request)
    with connection.cursor() as cursor:
        cursor.execute(RESET)
    return respond(200, dumps({"status": "reset"}))


_SCRIPT = ("operation", "action", "reference", "key", "times", "seconds", "code")


def _script(wanted: JsonObject) -> int:
    operation = wanted.get("operation", "any")
    action = wanted.get("action")
    if operation not in OPERATIONS:
        raise Problem(400, "invalid_operation", f"operation is one of {sorted(OPERATIONS)}.")
    if action not in ACTIONS:
        raise Problem(400, "invalid_action", f"action is one of {sorted(ACTIONS)}.")
    scripted = row(
        """INSERT INTO simulator_fault (operation, action, reference, key, remaining, seconds, code)
            VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING id""",
        operation,
        action,
        _text(wanted, "reference"),
        _text(wanted, "key"),
        _times(wanted),
        _seconds(wanted),
        _text(wanted, "code", 64),
    )
    return int(scripted[0]) if scripted else 0


def _text(wanted: JsonObject, name: str, longest: int = 200) -> str | None:
    text = wanted.get(name)
    if text is None:
        return None
    if not isinstance(text, str) or not 0 < len(text) <= longest or "\0" in text:
        raise Problem(400, f"invalid_{name}", f"{name} is a text of 1 to {longest} characters.")
    return text


def _times(wanted: JsonObject) -> int | None:
    times = wanted.get("times", 1)
    if times is None:
        return None
    if not isinstance(times, int) or isinstance(times, bool) or not 0 < times <= 1_000_000:
        raise Problem(400, "invalid_times", "times is a positive number, or null for always.")
    return times


def _seconds(wanted: JsonObject) -> float | None:
    seconds = wanted.get("seconds")
    if seconds is None:
        return None
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not number or not 0 <= seconds <= MAX_SECONDS:
        raise Problem(400, "invalid_seconds", f"seconds is a number from 0 to {MAX_SECONDS}.")
    return float(seconds)
