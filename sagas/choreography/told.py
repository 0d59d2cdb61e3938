"""What contexts have told and heard of a flow, also when outbox and inbox are pruned.

The history keeps what was told, and a position says for good what its context is past.
"""

import json
from typing import Any
from uuid import UUID

from sagas.conf import conf
from sagas.core import upcasting
from sagas.core.commands import context_of
from sagas.core.errors import SagasError
from sagas.models import WatchedFlow
from sagas.outbox import past, starts
from sagas.outbox.event_map import emitted
from sagas.outbox.positions import position
from sagas.transactions import connection_of, table

_FIRST = "SELECT type, version, payload FROM {past} AS past WHERE id = %s"

# By what caused it, and not by time: a context may tell the same of several flows at once.
_TOLD = """
SELECT id FROM {past} AS past WHERE correlation_id = %s AND type = %s AND causation_id = %s
ORDER BY position LIMIT 1
"""
# Its inbox row may be pruned where its outbox row is, or could be if nobody else waited for it.
_OLD = """
SELECT aggregatetype, aggregateid, sequence, position FROM {past} AS past WHERE id = %s AND (
    created_at < clock_timestamp() - make_interval(days => %s)
    OR NOT EXISTS (SELECT FROM {outbox} WHERE id = %s))
"""


class NotTold(SagasError):
    """The first event of the flow is in no outbox and no history: somebody has deleted it."""


class ToldByNewer(SagasError):
    """A newer release has told the first event of the flow, in a version that this one has not."""


def first_payload(flow: WatchedFlow) -> upcasting.Payload:
    """Return what a flow's first event says in the version that this release tells.

    The payload in the flow's row is for people: it does not say in which version it was written.

    :raises NotTold: if the event is gone
    :raises ToldByNewer: if it was written by a release that is newer than this one
    :raises NoUpcaster: if a step of the way is missing
    """
    row = _one(context_of(flow.aggregatetype), _FIRST, flow.event_id)
    if row is None:
        raise NotTold
    name, written, payload = row
    wanted = max((version for told, version in emitted() if told == name), default=written)
    if wanted < written:
        raise ToldByNewer(f"{name} was told in version {written}, and is version {wanted} here")
    return upcasting.upcast(name, json.loads(payload), written, wanted)


def told_of(flow: WatchedFlow, event: str, cause: UUID) -> UUID | None:
    """Return the event of this name that was told because of another one."""
    row = _one(context_of(event), _TOLD, flow.correlation_id, event, str(cause))
    return row[0] if row else None


def is_long_past(consumer: str, producer: str, event_id: UUID) -> bool:
    """Return whether a context has an event behind it whose inbox row may be pruned by now.

    Of a young event only the inbox row counts: a position also passes what nobody has handled.
    """
    row = _one(producer, _OLD, event_id, int(conf.RETENTION_DAYS), event_id)
    if row is None or row[3] <= starts.border_of(consumer, producer):
        return False
    aggregate_type, aggregate_id, number, _ = row
    return position(consumer, aggregate_type, aggregate_id) >= int(number)


def _one(context: str, statement: str, *parameters: Any) -> Any:
    names = {"past": past.kept_in(context), "outbox": table(context, "outbox")}
    with connection_of(context).cursor() as cursor:
        cursor.execute(statement.format(**names), parameters)
        return cursor.fetchone()
