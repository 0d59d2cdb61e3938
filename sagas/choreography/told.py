"""What contexts have told of a flow: in the outbox, and in the history when that is pruned."""

import json
from typing import Any

from sagas.core import upcasting
from sagas.core.commands import context_of
from sagas.core.errors import SagasError
from sagas.models import WatchedFlow
from sagas.outbox import past
from sagas.outbox.event_map import emitted
from sagas.transactions import connection_of

_FIRST = "SELECT type, version, payload FROM {past} AS past WHERE id = %s"


class NotTold(SagasError):
    """The first event of the flow is in no outbox and no history: somebody has deleted it."""


def first_payload(flow: WatchedFlow) -> upcasting.Payload:
    """Return what a flow's first event says in the version that this release tells.

    The payload in the flow's row is for people: it does not say in which version it was written.

    :raises NotTold: if the event is gone
    :raises NoUpcaster: if it was written by a release that is newer than this one
    """
    row = one(context_of(flow.aggregatetype), _FIRST, flow.event_id)
    if row is None:
        raise NotTold
    name, written, payload = row
    wanted = max((version for told, version in emitted() if told == name), default=written)
    return upcasting.upcast(name, json.loads(payload), written, wanted)


def one(context: str, statement: str, *parameters: Any) -> Any:
    """Return the first row that a statement finds in what a context has told, or None."""
    with connection_of(context).cursor() as cursor:
        cursor.execute(statement.format(past=past.kept_in(context)), parameters)
        return cursor.fetchone()
