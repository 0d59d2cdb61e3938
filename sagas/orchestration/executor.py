"""Carrying out one link of a saga: claim it, run its steps, commit each, stop cleanly.

# Note [The row is the truth]
A worker may die, freeze or be doubled between any two statements. So it believes nothing it has
read before: every commit names the status, the cursor and the fencing token it relies on, and a
commit that changes no row means that somebody was faster. The protocol and the model that
checks it are described in ``docs/engine.md``.
"""

import logging
from uuid import UUID

from sagas.core.keys import Direction
from sagas.failpoints import failpoint
from sagas.models.saga import SagaInstance, Status
from sagas.orchestration import donekeys, store
from sagas.orchestration.carried import Carried, LinkEnd
from sagas.sometimes import sometimes

log = logging.getLogger(__name__)

STATUS = {Direction.DO: Status.RUNNING, Direction.UNDO: Status.COMPENSATING}


def run_link(
    saga_id: UUID, low: int, high: int, direction: Direction, *, swept: bool = False
) -> LinkEnd:
    """Carry out the steps ``low`` to ``high`` of a saga, as far as they are still to be done."""
    if not swept and donekeys.all_done(saga_id, low, high, direction):
        sometimes("link.remembered")
        return LinkEnd.PASSED
    failpoint("claim.before")
    claimed = store.claim(saga_id, status=STATUS[direction], low=low, high=high)
    if claimed is None:
        return not_claimed(saga_id, low, high, direction)
    failpoint("claim.committed")
    return Carried(claimed, low, high, direction).carry_on()


def not_claimed(saga_id: UUID, low: int, high: int, direction: Direction) -> LinkEnd:
    """Tell a link that is already past from one that is not to be run now."""
    row = SagaInstance.objects.filter(id=saga_id).values_list("status", "cursor").first()
    if row is None:
        log.error("saga_missing", extra={"saga_id": str(saga_id)})
        return LinkEnd.STOPPED
    status, cursor = row
    if direction is Direction.DO:
        passed = status in (Status.RUNNING, Status.COMPLETED) and cursor > high
    else:
        passed = status in (Status.COMPENSATING, Status.COMPENSATED) and cursor < low
    sometimes("link.passed" if passed else "copy.refused")
    return LinkEnd.PASSED if passed else LinkEnd.STOPPED
