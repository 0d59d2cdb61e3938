"""Claiming several sagas with one statement, and giving back those that were not begun.

Like ``store.py``, every change is one conditional statement. What a batch takes along is *fresh*:
no attempt of its step has been counted. So a saga that kills its process is taken along once and
then only ever claimed by a message of its own, and cannot spend its neighbors' attempts.

See Note [One message for many] in ``wakes.py``.
"""

import logging
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import OperationalError

from sagas.conf import conf
from sagas.orchestration.store import Claim, claim_of, claiming, engine_cursor
from sagas.orchestration.wakes import Wake

log = logging.getLogger(__name__)

# Rows that have been due for longer are the sweeper's alone. The bound keeps the scan away from
# the dead entries that finished sagas leave at the old end of the index until the next vacuum.
OLDEST = 600.0
WOKEN = 1.0
"""Seconds in which a parent is due that the trigger has woken when its child has ended."""

# Not clock_timestamp(), which no index can be searched for: every saga that sleeps would be read.
_FRESH = """
    s.due_at BETWEEN statement_timestamp() - make_interval(secs => %(oldest)s)
        AND statement_timestamp() + make_interval(secs => %(grace)s)
    AND s.name = %(name)s AND s.def_version = %(version)s AND s.status = %(status)s
    AND s.cursor = %(first)s AND s.id IS DISTINCT FROM %(id)s
    AND s.attempts = 0 AND s.pending = 0 AND s.parked_at IS NULL
    AND s.leased_until IS NULL AND s.not_before IS NULL
"""

_CLAIMABLE = claiming("true").partition("WHERE true AND ")[2].partition("RETURNING")[0]

# The saga of the message is locked first, while nothing else is: two batches that each have the
# other's saga on their list would otherwise wait for each other. The others are locked only if
# nobody else has them, and not at all when the first one is not fresh: it may be poison. One that
# another has taken along meanwhile is not claimed, and so keeps nobody from being taken. Its place
# is another one's then: what is not full rings for nobody before it begins.
_COMPANY = f"""
WITH own AS MATERIALIZED (
    SELECT id, attempts FROM sagas_saga WHERE id = %(id)s AND {_CLAIMABLE} FOR UPDATE),
company AS MATERIALIZED (
    SELECT s.id FROM sagas_saga AS s
    WHERE (SELECT coalesce(max(attempts), 0) FROM own) = 0 AND {_FRESH}
    ORDER BY s.due_at LIMIT %(others)s FOR UPDATE SKIP LOCKED)
"""  # noqa: S608 - constants of this module and of the store

_NEXT = f"""
SELECT s.id, s.cursor, s.traceparent FROM sagas_saga AS s WHERE {_FRESH}
ORDER BY s.due_at LIMIT 1 FOR NO KEY UPDATE OF s SKIP LOCKED
"""  # noqa: S608 - constants of this module

# Whoever holds one of the rows must not keep the others leased, nor their rings from being heard.
_GIVE_BACK = """
WITH held AS MATERIALIZED (
    SELECT s.id, held.token FROM sagas_saga AS s
    JOIN unnest(%(ids)s::uuid[], %(tokens)s::bigint[]) AS held (id, token) USING (id)
    FOR NO KEY UPDATE OF s SKIP LOCKED)
UPDATE sagas_saga AS s SET leased_until = NULL, attempts = greatest(attempts - 1, 0),
    due_at = clock_timestamp() + make_interval(secs => %(grace)s),
    updated_at = clock_timestamp()
FROM held
WHERE s.id = held.id AND s.fencing_token = held.token AND s.leased_until IS NOT NULL
RETURNING s.id
"""
_GIVE_BACK_WAITING = _GIVE_BACK.replace(" SKIP LOCKED", "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Ready:
    """A saga that a batch had no room for."""

    saga_id: UUID
    cursor: int
    traceparent: str | None


def claim_batch(
    saga_id: UUID | None, wake: Wake, *, status: str, most: int, alone: bool = False
) -> list[Claim]:
    """Take a message's saga, and fresh ones in front of the same link.

    Those further on in the link have messages of their own, or a call in front of them. Whoever was
    claimed most often comes first, for it was given back unbegun: in a backlog it stands at the end
    of the line each time, and would else stand behind others in each batch. Then comes the
    message's own.

    :param alone: for a process that could do nothing with the others
    """
    room = {"most": most, "others": 0 if alone else most}
    parameters = {**_parameters(saga_id, wake, status), "lease": conf.LEASE, **room}
    # No more of the others are looked for, and locked, than there is room for beside its own.
    both = "SELECT id FROM own UNION ALL SELECT id FROM company LIMIT %(most)s"
    with engine_cursor() as cursor:
        cursor.execute(_COMPANY + claiming(f"id = ANY(ARRAY({both}))"), parameters)
        claims = [claim_of(row) for row in cursor.fetchall()]
    return sorted(claims, key=lambda claim: (-claim.token, claim.saga_id != saga_id, claim.saga_id))


def next_ready(wake: Wake, *, status: str) -> Ready | None:
    """Find a saga that the batch has left for others."""
    with engine_cursor() as cursor:
        cursor.execute(_NEXT, _parameters(None, wake, status))
        row = cursor.fetchone()
    return None if row is None else Ready(saga_id=row[0], cursor=row[1], traceparent=row[2])


def _parameters(saga_id: UUID | None, wake: Wake, status: str) -> dict[str, Any]:
    return {
        "id": saga_id,
        "name": wake.name,
        "version": wake.version,
        "status": status,
        "low": wake.low,
        "high": wake.high,
        "first": wake.first,
        "grace": max(conf.HINT_GRACE, WOKEN),
        "oldest": OLDEST,
    }


def give_back(claims: list[Claim]) -> set[UUID]:
    """Free sagas that were claimed and not begun, with their attempt; return which are free.

    A worker that froze in between gives back nothing of another's: the token says whose it is. A
    row that somebody holds is passed by.
    """
    return _free(_GIVE_BACK, claims)


def give_back_held(claims: list[Claim]) -> set[UUID]:
    """Free those that were passed by, and wait for whoever holds them; return which are free."""
    freed: set[UUID] = set()
    for number, claim in enumerate(claims, 1):
        try:
            freed |= _free(_GIVE_BACK_WAITING, [claim])
        except OperationalError as held:
            log.warning("batch_held", extra={"saga_id": str(claim.saga_id), "error": str(held)})
            # Whoever holds it does so for long: it is free when its lease ends. Of the others those
            # are that nobody holds any more.
            return freed | give_back(claims[number:])
    return freed


def _free(statement: str, claims: list[Claim]) -> set[UUID]:
    with engine_cursor() as cursor:
        cursor.execute(
            statement,
            {
                "ids": [claim.saga_id for claim in claims],
                "tokens": [claim.token for claim in claims],
                "grace": conf.HINT_GRACE,
            },
        )
        return {row[0] for row in cursor.fetchall()}
