"""Signed events to the webhook: rows written with the effect, sent by a thread of their own.

At least once and in no promised order.  Off as long as no address is set.
"""

import hashlib
import hmac
import logging
import threading
import time

import urllib3
from django.db import DatabaseError, connection

from payments.simulator import settings
from payments.simulator.book import new_ref
from payments.simulator.database import changed, row, rows
from payments.simulator.faults import stopping
from payments.simulator.idempotency import forget_expired
from payments.simulator.wire import Answer, dumps

BATCH = 20
POLL_SECONDS = 0.5
LEASE_SECONDS = 30
TIMEOUT_SECONDS = 5.0
PRUNE_EVERY_SECONDS = 3600.0

log = logging.getLogger(__name__)
waiting = threading.Event()
"""Set when this process has committed an event."""


def enqueue(answer: Answer) -> None:
    """Write the event of an answer down to be sent; stands in the transaction of the effect."""
    if not answer.event or answer.replayed or not settings.SIMULATOR_WEBHOOK_URL:
        return
    now = row("SELECT extract(epoch FROM now())::bigint")
    ref = new_ref("evt")
    body = {
        "id": ref,
        "type": answer.event,
        "created": int(now[0]) if now else 0,
        "data": {"object": answer.subject},
    }
    changed(
        """INSERT INTO simulator_delivery (event_ref, type, body, created_at, due_at)
            VALUES (%s, %s, %s, now(), now())""",
        ref,
        answer.event,
        dumps(body),
    )


def signature(body: bytes, at: int) -> str:
    """Return the signature header: HMAC-SHA256 over the instant, a dot and the raw body."""
    signed = str(at).encode() + b"." + body
    marks = (
        "v1=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
        for secret in settings.SIMULATOR_WEBHOOK_SECRETS
    )
    return ",".join((f"t={at}", *marks))


def start_sending() -> threading.Thread | None:
    """Start the thread that sends events and forgets old keys."""
    thread = threading.Thread(target=_send_until_stopped, name="events", daemon=True)
    thread.start()
    return thread


def send_due(pool: urllib3.PoolManager) -> int:
    """Send the events that are due and return how many there were.

    The row is leased by moving its due instant, so that nothing is locked while the receiver
    takes its time, and a sender that dies has merely delayed it.
    """
    due = rows(
        """UPDATE simulator_delivery SET due_at = now() + make_interval(secs => %s),
            attempts = attempts + 1
            WHERE id IN (SELECT id FROM simulator_delivery WHERE due_at <= now()
                ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED)
            RETURNING id, body, attempts, extract(epoch FROM now() - created_at)::float""",
        LEASE_SECONDS,
        BATCH,
    )
    for number, body, attempts, age in due:
        accepted, told = _send(pool, body.encode())
        _note(number, accepted=accepted, told=told, attempts=attempts, age=age)
    return len(due)


def _send(pool: urllib3.PoolManager, body: bytes) -> tuple[bool, str]:
    headers = {
        "Content-Type": "application/json",
        "Sim-Signature": signature(body, int(time.time())),
    }
    try:
        answer = pool.request("POST", settings.SIMULATOR_WEBHOOK_URL, body=body, headers=headers)
    except urllib3.exceptions.HTTPError as failed:
        return False, type(failed).__name__
    return 200 <= answer.status < 300, str(answer.status)


def _note(number: int, *, accepted: bool, told: str, attempts: int, age: float) -> None:
    delays = settings.SIMULATOR_WEBHOOK_DELAYS
    delay = delays[min(attempts, len(delays)) - 1]
    given_up = age > settings.SIMULATOR_WEBHOOK_GIVE_UP_SECONDS
    changed(
        """UPDATE simulator_delivery SET last_answer = %s,
            delivered_at = CASE WHEN %s THEN now() END,
            due_at = CASE WHEN %s THEN NULL ELSE now() + make_interval(secs => %s) END
            WHERE id = %s""",
        told,
        accepted,
        accepted or given_up,
        delay,
        number,
    )


def _send_until_stopped() -> None:
    pool = urllib3.PoolManager(timeout=urllib3.Timeout(TIMEOUT_SECONDS), retries=False, maxsize=1)
    prune_at = time.monotonic()
    while not stopping.is_set():
        waiting.clear()
        try:
            if time.monotonic() >= prune_at:
                prune_at = time.monotonic() + PRUNE_EVERY_SECONDS
                forget_expired()
            sent = send_due(pool) if settings.SIMULATOR_WEBHOOK_URL else 0
        except DatabaseError:
            log.warning("The database does not answer; events wait.")
            connection.close()
            sent = 0
        if sent < BATCH:
            waiting.wait(POLL_SECONDS)
