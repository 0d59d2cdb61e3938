"""The provider's book: every move of money is one conditional UPDATE.

What was executed under another key counts: an intent is captured once, and after a cancel nothing
succeeds on it any more, whatever the key.
"""

import json
import secrets
from typing import Any

from payments.simulator.cards import first_call_faults
from payments.simulator.database import changed, record, records, rows
from payments.simulator.wire import Answer, JsonObject, Problem, dumps, error

Record = dict[str, Any]

AUTHORIZE = """UPDATE simulator_intent
    SET status = 'authorized', amount_authorized = amount, last_error = NULL
    WHERE ref = %s AND status = 'prepared' RETURNING *"""
CAPTURE = """UPDATE simulator_intent
    SET status = 'captured', amount_captured = coalesce(%s, amount_authorized), last_error = NULL
    WHERE ref = %s AND status = 'authorized' AND coalesce(%s, 0) <= amount_authorized
    RETURNING *"""
CANCEL = """UPDATE simulator_intent SET status = 'canceled'
    WHERE ref = %s AND status IN ('prepared', 'authorized') RETURNING *"""
DECLINE = """UPDATE simulator_intent SET last_error = %s
    WHERE ref = %s AND status = %s RETURNING *"""
GIVE_BACK = """UPDATE simulator_intent SET amount_refunded = amount_refunded + %s
    WHERE ref = %s AND status = 'captured' AND amount_refunded + %s <= amount_captured
    RETURNING *"""
TOO_LARGE = {("capture", "authorized"), ("refund", "captured")}
REASONS = {
    "confirm": {
        "authorized": "already_authorized",
        "captured": "already_captured",
        "canceled": "canceled",
    },
    "capture": {
        "prepared": "not_authorized",
        "authorized": "not_authorized",
        "captured": "already_captured",
        "canceled": "canceled",
    },
    "refund": {
        "prepared": "not_captured",
        "authorized": "not_captured",
        "captured": "not_captured",
        "canceled": "canceled",
    },
}
MESSAGES = {
    "not_authorized": "The intent is not authorized.",
    "already_authorized": "The intent is authorized already.",
    "already_captured": "The intent is captured already.",
    "canceled": "The intent is canceled; nothing succeeds on it any more.",
    "not_captured": "The intent is not captured.",
}


def new_ref(prefix: str) -> str:
    """Return a fresh name of an object."""
    return f"{prefix}_{secrets.token_hex(12)}"


def intent_json(intent: Record) -> JsonObject:
    """Show an intent as the API shows it."""
    code = intent["last_error"]
    return {
        "id": intent["ref"],
        "status": intent["status"],
        "amount": intent["amount"],
        "currency": intent["currency"],
        "amount_authorized": intent["amount_authorized"],
        "amount_captured": intent["amount_captured"],
        "amount_refunded": intent["amount_refunded"],
        "payment_method": intent["payment_method"],
        "reference": intent["reference"],
        "metadata": json.loads(intent["metadata"]),
        "created": int(intent["created_at"].timestamp()),
        "last_error": {"type": "card_declined", "code": code} if code else None,
    }


def refund_json(refund: Record) -> JsonObject:
    """Show a refund as the API shows it."""
    return {
        "id": refund["ref"],
        "status": "succeeded",
        "intent": refund["intent_id"],
        "amount": refund["amount"],
        "reference": refund["reference"],
        "metadata": json.loads(refund["metadata"]),
        "created": int(refund["created_at"].timestamp()),
    }


def find(ref: str) -> JsonObject:
    """Return an intent.

    :raises Problem: 404
    """
    found = record("SELECT * FROM simulator_intent WHERE ref = %s", ref)
    if found is None:
        raise Problem(404, "unknown_intent", "There is no such intent.")
    return intent_json(found)


def prepare(
    *, amount: int, currency: str, card: str, reference: str, metadata: JsonObject
) -> Answer:
    """Open an intent; no money moves."""
    opened = records(
        """INSERT INTO simulator_intent (ref, status, amount, currency, payment_method, reference,
            metadata, created_at) VALUES (%s, 'prepared', %s, %s, %s, %s, %s, now())
            RETURNING *""",
        new_ref("in"),
        amount,
        currency,
        card,
        reference,
        json.dumps(metadata),
    )
    intent = intent_json(opened[0])
    for fault in first_call_faults(card):
        changed(
            """INSERT INTO simulator_fault (operation, action, reference, remaining, seconds, code)
                VALUES (%s, %s, %s, 1, %s, %s)""",
            fault.operation,
            fault.action,
            intent["id"],
            fault.seconds,
            fault.code,
        )
    return _done(intent, "intent.prepared")


def confirm(ref: str, *, declined: str | None) -> Answer:
    """Hold the money on the card."""
    if declined:
        return _declined(ref, "prepared", declined) or _refused(ref, "confirm")
    held = record(AUTHORIZE, ref)
    return _done(intent_json(held), "intent.authorized") if held else _refused(ref, "confirm")


def capture(ref: str, *, amount: int | None, declined: str | None) -> Answer:
    """Take the money that is held, once; what is not taken is let go."""
    if declined:
        return _declined(ref, "authorized", declined) or _refused(ref, "capture")
    taken = record(CAPTURE, amount, ref, amount)
    if taken is None:
        return _refused(ref, "capture", amount or 0)
    return _done(intent_json(taken), "intent.captured")


def cancel(ref: str) -> Answer:
    """Close an intent for good and let go what it holds; closing it twice is fine."""
    closed = record(CANCEL, ref)
    if closed:
        return _done(intent_json(closed), "intent.canceled")
    intent = find(ref)
    if intent["status"] == "canceled":
        return Answer(status=200, body=dumps(intent))
    return _invalid_state("already_captured", intent)


def refund(*, intent: str, amount: int, reference: str, metadata: JsonObject) -> Answer:
    """Give money back out of a captured intent."""
    given = record(GIVE_BACK, amount, intent, amount)
    if given is None:
        return _refused(intent, "refund", amount)
    made = records(
        """INSERT INTO simulator_refund (ref, intent_id, amount, reference, metadata, created_at)
            VALUES (%s, %s, %s, %s, %s, now()) RETURNING *""",
        new_ref("re"),
        intent,
        amount,
        reference,
        json.dumps(metadata),
    )
    return _done(refund_json(made[0]), "refund.succeeded")


def balance() -> JsonObject:
    """Return what the provider holds, took and gave back, by currency."""
    sums = rows(
        """SELECT currency, sum(amount_captured)::bigint, sum(amount_refunded)::bigint,
            coalesce(sum(amount_authorized) FILTER (WHERE status = 'authorized'), 0)::bigint
            FROM simulator_intent GROUP BY currency ORDER BY currency"""
    )
    return {
        "captured": {currency: captured for currency, captured, _, _ in sums},
        "refunded": {currency: refunded for currency, _, refunded, _ in sums},
        "authorized_open": {currency: held for currency, _, _, held in sums},
    }


def _done(subject: JsonObject, event: str) -> Answer:
    return Answer(status=200, body=dumps(subject), executed=True, event=event, subject=subject)


def _declined(ref: str, status: str, code: str) -> Answer | None:
    noted = record(DECLINE, code, ref, status)
    if noted is None:
        return None
    return Answer(
        status=402,
        body=dumps(error("card_declined", code, "The card was declined.")),
        code=code,
        event="intent.declined",
        subject=intent_json(noted),
    )


def _refused(ref: str, operation: str, amount: int = 0) -> Answer:
    """Say why an UPDATE found no row.

    The intent is read after it and may have moved on meanwhile: what is not a reason any more is
    told as the state the UPDATE must have seen.
    """
    intent = find(ref)
    room = {
        "capture": intent["amount_authorized"],
        "refund": intent["amount_captured"] - intent["amount_refunded"],
    }.get(operation, 0)
    if (operation, intent["status"]) in TOO_LARGE and amount > room:
        said = f"The amount is more than the {room} there are."
        return Answer(
            status=400,
            body=dumps(error("invalid_request", "amount_too_large", said)),
            code="amount_too_large",
        )
    return _invalid_state(REASONS[operation][intent["status"]], intent)


def _invalid_state(code: str, intent: JsonObject) -> Answer:
    return Answer(
        status=409,
        body=dumps({**error("invalid_state", code, MESSAGES[code]), "intent": intent}),
        code=code,
    )
