"""From a saga's row to a Celery chain; the only place that knows Celery's canvas.

# Note [A chain is a doorbell]
A chain is the fast way to say "this saga has work". Celery publishes the next link after the
task body has returned, in a second write beside our commit, so any link may be lost, doubled or
late (traps c2, b5 of the design notes; celery/celery#9835 asks for more). Nothing is decided by
a message: a link reads the row, and the sweeper publishes the chain of what remains whenever the
row says that nothing has happened for too long.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from time import monotonic
from typing import Any
from uuid import UUID

from celery import chain, current_app
from celery.canvas import Signature
from django.conf import settings
from kombu.exceptions import OperationalError

from sagas.core.definition import Saga
from sagas.core.keys import Direction
from sagas.failpoints import failpoint
from sagas.orchestration import wakes
from sagas.orchestration.handlers import calls_out
from sagas.orchestration.wakes import Wake
from sagas.sometimes import sometimes

log = logging.getLogger(__name__)

ENGINE_QUEUE = "steps"


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """Consecutive steps of one queue, carried out by one task."""

    low: int
    high: int
    queue: str


def queue_of(context: str) -> str:
    """Return the queue that carries a context's steps."""
    per_context = getattr(settings, "STEP_QUEUES", "shared") == "per-context"
    return context if per_context else ENGINE_QUEUE


def links(saga: Saga[Any], cursor: int, direction: Direction) -> list[Link]:
    """Return the links still to run, in the order in which they run.

    Forward a chain ends at a group: the last branch publishes the rest.
    """
    forward = direction is Direction.DO
    numbers = range(cursor, len(saga.steps)) if forward else range(cursor, -1, -1)
    found: list[Link] = []
    for number in numbers:
        if forward and saga.steps[number].group is not None:
            break
        queue = queue_of(saga.contexts[number])
        if found and found[-1].queue == queue:
            last = found[-1]
            found[-1] = Link(low=min(last.low, number), high=max(last.high, number), queue=queue)
        else:
            found.append(Link(low=number, high=number, queue=queue))
    return found


def send(
    saga: Saga[Any],
    saga_id: UUID,
    *,
    cursor: int,
    direction: Direction,
    traceparent: str | None = None,
    swept: bool = False,
    alone: bool = False,
) -> bool:
    """Publish the chain of what remains; False when the broker did not take it.

    Lost hints are normal: the caller has nothing to do, the sweeper finds the row. Nothing is
    published while an earlier message for sagas of this kind is unread: it takes this one along.

    :param swept: the message is the sweeper's, and asks no keys in Redis
    :param alone: it must not rely on others; for a saga that is not fresh (``attempts`` is not
        0), which nobody takes along

    See Note [A chain is a doorbell] and Note [One message for many].
    """
    found = links(saga, cursor, direction)
    if not found:
        return send_branches(saga, saga_id, saga.branches(cursor), traceparent=traceparent)
    if _patience.is_over():
        return False
    wake = None if alone else wake_of(saga, found[0], direction)
    if wake is not None and not wakes.is_first(wake):
        sometimes("wake.shared")
        return True
    chained = _chain(saga, saga_id, found, direction, swept=swept, alone=alone)
    sent = _publish(saga, saga_id, chained, traceparent)
    if wake is not None and not sent:
        wakes.take_back(wake)
    return sent


def wake_of(saga: Saga[Any], link: Link, direction: Direction) -> Wake | None:
    """Return what stands in front of a link; None when its first step calls out.

    Such a call may hang: each of these sagas has a message, and so a worker, of its own.
    """
    wake = Wake(
        name=saga.name,
        version=saga.version,
        direction=direction,
        low=link.low,
        high=link.high,
    )
    return None if calls_out(saga, wake.first, direction) else wake


def forget(saga: Saga[Any], cursor: int, direction: Direction) -> None:
    """Let the next one ring for who stands there, whatever message is said to be under way."""
    found = links(saga, cursor, direction)
    wake = wake_of(saga, found[0], direction) if found else None
    if wake is not None:
        wakes.take_back(wake)


def _chain(
    saga: Saga[Any],
    saga_id: UUID,
    found: list[Link],
    direction: Direction,
    *,
    swept: bool,
    alone: bool,
) -> Signature:
    name = "sagas.run_link" if direction is Direction.DO else "sagas.undo_link"
    signatures = []
    for link in found:
        arguments = [str(saga_id), link.low, link.high, swept]
        wake = None if alone else wake_of(saga, link, direction)
        if wake is not None:
            arguments.append(wake.of)
        signatures.append(_signature(name, link.queue, arguments))
    # Celery would send a chain of one link as the task it is, after building the chain.
    return signatures[0] if len(signatures) == 1 else chain(*signatures)


def send_branches(
    saga: Saga[Any], saga_id: UUID, numbers: Iterable[int], *, traceparent: str | None = None
) -> bool:
    """Publish a message for each of these branches; False when the broker took none."""
    sent = [
        _publish(
            saga,
            saga_id,
            _signature("sagas.run_branch", queue_of(saga.contexts[number]), [str(saga_id), number]),
            traceparent,
        )
        for number in numbers
    ]
    return any(sent)


def _publish(saga: Saga[Any], saga_id: UUID, signature: Signature, traceparent: str | None) -> bool:
    signature.on_error(_signature("sagas.continue_saga", queue_of(saga.context), [str(saga_id)]))
    return publish(signature, headers={"traceparent": traceparent} if traceparent else {})


def _signature(name: str, queue: str, arguments: list[Any]) -> Signature:
    return Signature(
        name, args=tuple(arguments), options={"queue": queue}, immutable=True, app=current_app
    )


class _Patience:
    """Spares callers a broker that hangs: a hint is not worth a customer's five seconds."""

    LONG = 1.0
    """Seconds after which a lost hint has cost too much to try the next one at once."""
    PAUSE = 5.0
    """Seconds for which hints are then not even tried; the sweeper finds the rows."""

    def __init__(self) -> None:
        self.until = 0.0

    def is_over(self) -> bool:
        return monotonic() < self.until

    def lost(self, began: float) -> None:
        if monotonic() - began > self.LONG:
            self.until = monotonic() + self.PAUSE


_patience = _Patience()


def publish(signature: Signature, **options: Any) -> bool:
    """Send a hint, best effort; the row it points at is what counts.

    False when the broker did not take it, or hung a moment ago and is left alone for now.
    """
    if _patience.is_over():
        return False
    began = monotonic()
    try:
        signature.apply_async(retry=False, **options)
    except OperationalError as lost:
        _patience.lost(began)
        sometimes("hint.lost")
        log.warning("hint_lost", extra={"task_name": signature.task, "error": str(lost)})
        return False
    failpoint("chain.published")
    return True


def depth(queue: str) -> int:
    """Return how many messages wait in a queue; 0 when the broker does not say."""
    connections: Any = current_app.pool
    broken = connections.connection.connection_errors + connections.connection.channel_errors
    try:
        with connections.acquire(block=True) as connection:
            # Not passive: kombu looks for the key without its prefix and never finds a queue.
            # Declared as everybody declares it, the queue is left as it is.
            declared = connection.default_channel.queue_declare(
                queue=queue, durable=True, auto_delete=False
            )
            return int(declared.message_count)
    except (OperationalError, *broken):
        return 0
