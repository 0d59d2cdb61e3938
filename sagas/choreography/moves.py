"""The moves of a watched flow: each one conditional UPDATE that names the look it comes from."""

from typing import Any

from sagas import clock
from sagas.choreography.flows import FLOWS
from sagas.conf import conf
from sagas.core.errors import SagasError
from sagas.models import WatchedFlow
from sagas.statements import cursor_of
from sagas.transactions import ENGINE

# By names: what this release does not declare is left to one that does. The attempt at an undo is
# counted before it begins: one that ends its process is an attempt as well.
_CLAIM = """
UPDATE sagas_watchedflow SET token = token + 1,
    attempts = attempts + (state = 'compensating')::int,
    due_at = clock_timestamp() + make_interval(secs => %(lease)s)
WHERE id = (
    SELECT id FROM sagas_watchedflow
    WHERE finished_at IS NULL AND parked_at IS NULL AND due_at <= clock_timestamp()
        AND name = ANY(%(names)s)
    ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id, token, clock_timestamp()
"""


class Overtaken(SagasError):
    """Another watchdog, or an operator, has moved the flow since it was claimed."""


def claim() -> WatchedFlow | None:
    """Take the flow that has been due longest, for one lease; None where none is due."""
    with cursor_of(ENGINE) as cursor:
        cursor.execute(_CLAIM, {"lease": conf.LEASE, "names": list(FLOWS)})
        row = cursor.fetchone()
    if row is None:
        return None
    flow_id, token, now = row
    ahead = clock.ahead_of(now)
    flow = WatchedFlow.objects.get(id=flow_id)
    flow.token, flow.ahead = token, ahead
    return flow


def move(flow: WatchedFlow, **changes: Any) -> None:
    """Change the row of a flow that is still this look's own; part of a transaction.

    :raises Overtaken: if it is not
    """
    mine = WatchedFlow.objects.filter(
        id=flow.id, token=flow.token, finished_at=None, parked_at=None
    )
    if not mine.update(**changes):
        raise Overtaken(f"{flow.name} {flow.id}")
