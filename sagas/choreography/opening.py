"""The row of a flow, written in the transaction of the event that it begins with.

Where that context has a database of its own the row cannot be part of its transaction. Then the
engine hears the event as any consumer does, and writes the row with its inbox row, if the event
was told after the flow was declared.
"""

from typing import Any

from psycopg.types.json import Jsonb

from sagas.choreography import beginning, flows
from sagas.conf import conf
from sagas.core import codec
from sagas.core.choreography import Choreography, payload_of
from sagas.core.commands import context_of
from sagas.core.events import Event
from sagas.ids import uuid7
from sagas.outbox import event_map, subscriptions
from sagas.outbox.subscriptions import Subscription
from sagas.transactions import ENGINE, connection_of, is_detached

_OPEN = """
INSERT INTO sagas_watchedflow (id, name, event_id, aggregatetype, aggregateid, payload,
    correlation_id, traceparent, state, seen, missing, undone, redrives, attempts, token,
    deadline_at, due_at, parked_reason)
VALUES (%(row)s, %(name)s, %(id)s, %(aggregate_type)s, %(aggregate_id)s, %(payload)s,
    %(correlation_id)s, %(traceparent)s, 'running', '[]', '', '[]', 0, 0, 0,
    sagas.now() + %(within)s, clock_timestamp() + make_interval(secs => %(first)s), '')
ON CONFLICT (name, event_id) DO NOTHING
"""


def open_flows(event: Event, written: dict[str, Any]) -> None:
    """Open the flows that begin with an event that is being published; part of its transaction.

    :param written: what stands in the outbox row
    """
    if not is_detached(context_of(event.name)):
        _open(event, written, flows.begun_by(event.name))


def listen() -> None:
    """Let the engine hear the first events of flows that begin in a detached context."""
    for (name, version), event in event_map.emitted().items():
        if not (is_detached(context_of(name)) and flows.begun_by(name)):
            continue
        subscriptions.SUBSCRIPTIONS.setdefault((name, version), []).append(
            Subscription(
                event=name, version=version, context=ENGINE, payload=event, handler=_open_heard
            )
        )


def _open_heard(event: Event) -> None:
    envelope = subscriptions.current_event()
    # Of an aggregate that it has not heard of before, the engine reads what is old as well.
    declared = beginning.begun_before(envelope.position)
    _open(
        event,
        {
            "id": envelope.event_id,
            "aggregate_type": envelope.aggregate_type,
            "aggregate_id": envelope.aggregate_id,
            "payload": Jsonb(codec.encode(event)),
            "correlation_id": envelope.correlation_id,
            "traceparent": envelope.traceparent,
        },
        [flow for flow in flows.begun_by(event.name) if flow.name in declared],
    )


def _open(event: Event, written: dict[str, Any], begun: list[Choreography]) -> None:
    for flow in begun:
        if not follows(flow, codec.encode(event)):
            continue
        parameters = {
            **written,
            "row": uuid7(),
            "name": flow.name,
            # By the clock of the database, as the watchdog compares it.
            "within": flow.within,
            "first": min(float(conf.WATCH_INTERVAL), flow.within.total_seconds()),
        }
        with connection_of(ENGINE).cursor() as cursor:
            cursor.execute(_OPEN, parameters)


def follows(flow: Choreography, payload: Any) -> bool:
    """Return whether a flow follows from an event with this payload."""
    if flow.when is None:
        return True
    return flow.when(codec.decode(payload_of(flow.when, flow.name), payload, tolerant=True))
