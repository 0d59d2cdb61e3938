"""Definitions against the instances that live: an instance ends on what it began with.

Whoever touches a living saga asks by its fingerprint (``fitting``, ``found``):
a link that has claimed it gives it back, without an attempt, when the code that runs here does not
have its definition (``leave``), an act is refused, and the sweeper leaves the row due; that is the
guarantee. The start of a worker or of the web, and ``check --database``, refuse a release that
could not carry out what lives (``refuse_unfit``); that is the early word, and no more, since an
older release may still start sagas a moment later.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Protocol
from uuid import UUID

from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.db import DatabaseError

from sagas.conf import conf
from sagas.core.definition import Saga
from sagas.core.errors import SagasError
from sagas.core.fingerprint import difference
from sagas.orchestration import registry
from sagas.orchestration.store import Claim, engine_cursor
from sagas.transactions import connection_of

log = logging.getLogger(__name__)

CHANGED = "sagas.E010"
UNKNOWN = "sagas.E011"


class UnfitDefinition(SagasError):
    """Sagas live that the definitions of this release cannot carry out."""


class Fit(Enum):
    """How a definition stands to the instances that began under its name and version."""

    FITS = "fits"
    CHANGED = "changed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """The living instances of one definition, as they began."""

    name: str
    version: int
    fingerprint: str
    fit: Fit
    living: int
    oldest: datetime | None
    differs: str = ""


class Began(Protocol):
    """What a saga's row says of the definition it began with."""

    @property
    def name(self) -> str:
        """Return the definition's name."""

    @property
    def def_version(self) -> int:
        """Return its version."""

    @property
    def fingerprint(self) -> str:
        """Return what it looked like; empty where nobody noted it."""

    @property
    def last_step(self) -> int:
        """Return the number of its last step."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Beginning:
    """The same, read by a statement."""

    name: str
    def_version: int
    fingerprint: str
    last_step: int


def fitting(began: Began) -> Saga[Any]:
    """Return the definition that a saga began with.

    :raises UnknownSaga: if this release does not have it, or has another one in its place
    """
    saga = registry.get(began.name, began.def_version)
    if _fit(saga, began.fingerprint) is Fit.CHANGED and not _is_silenced(CHANGED):
        differs = difference(saga, began.fingerprint)
        raise registry.UnknownSaga(
            f"{saga.name} version {saga.version} is another one here: {differs}"
        )
    if saga.last < began.last_step:  # whatever was silenced: it may stand past the end
        raise registry.UnknownSaga(f"{saga.name} version {saga.version} has fewer steps here")
    return saga


def found(began: Began) -> Saga[Any] | None:
    """Return the definition that a saga began with, or None if this release does not have it."""
    try:
        return fitting(began)
    except registry.UnknownSaga:
        return None


def to_ring(saga_id: UUID, began: Began) -> Saga[Any] | None:
    """Return the definition of a saga that is to be rung for; None leaves that to others.

    Another release may know it: the row stays due, and nobody behind it is held up.
    """
    try:
        return fitting(began)
    except registry.UnknownSaga as unknown:
        log.warning("saga_unknown", extra={"saga_id": str(saga_id), "error": str(unknown)})
        return None


def _fit(saga: Saga[Any] | None, fingerprint: str) -> Fit:
    if saga is None:
        return Fit.UNKNOWN
    # Instances from before fingerprints were kept have none.
    return Fit.FITS if fingerprint in {"", saga.fingerprint} else Fit.CHANGED


def _is_silenced(check: str) -> bool:
    return check in settings.SILENCED_SYSTEM_CHECKS


_LEAVE = """
UPDATE sagas_saga SET attempts = attempts - 1, leased_until = NULL,
    not_before = statement_timestamp() + make_interval(secs => wait),
    due_at = statement_timestamp() + make_interval(secs => wait), updated_at = clock_timestamp()
FROM (SELECT least(%(grace)s * power(1.7, least(hints, 20)), %(cap)s) AS wait
    FROM sagas_saga WHERE id = %(id)s) AS spacing
WHERE id = %(id)s AND status = %(status)s AND cursor = %(cursor)s AND fencing_token = %(token)s
"""


def leave(claimed: Claim, why: registry.UnknownSaga) -> None:
    """Give a claimed saga back for a worker that knows it, as if it had never been claimed.

    It comes again when the sweeper's next hint would have come, so that a release which does not
    know it is not kept busy by it.
    """
    log.warning("saga_unknown", extra={"saga_id": str(claimed.saga_id), "error": str(why)})
    with engine_cursor() as cursor:
        cursor.execute(
            _LEAVE,
            {
                "id": claimed.saga_id,
                "status": claimed.status,
                "cursor": claimed.cursor,
                "token": claimed.token,
                "grace": conf.HINT_GRACE,
                "cap": conf.HINT_CAP,
            },
        )


_LIVING = """
SELECT name, def_version, fingerprint, count(*), min(started_at) FROM sagas_saga
WHERE finished_at IS NULL GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""


def standings() -> list[Standing]:
    """Return every definition that is registered here or has living instances."""
    with engine_cursor() as cursor:
        cursor.execute(_LIVING)
        living = [_standing(*row) for row in cursor.fetchall()]
    seen = {(each.name, each.version) for each in living}
    idle = [
        Standing(
            name=name,
            version=version,
            fingerprint=saga.fingerprint,
            fit=Fit.FITS,
            living=0,
            oldest=None,
        )
        for (name, version), saga in registry.SAGAS.items()
        if (name, version) not in seen
    ]
    return sorted([*living, *idle], key=lambda each: (each.name, each.version, each.fingerprint))


def _standing(name: str, version: int, fingerprint: str, living: int, oldest: Any) -> Standing:
    saga = registry.SAGAS.get((name, version))
    fit = _fit(saga, fingerprint)
    return Standing(
        name=name,
        version=version,
        fingerprint=fingerprint,
        fit=fit,
        living=living,
        oldest=oldest,
        differs=difference(saga, fingerprint) if fit is Fit.CHANGED else "",
    )


def unfit() -> Iterator[CheckMessage]:
    """Yield what is wrong with the definitions of this release, as Django's checks say it."""
    for each in standings():
        if each.fit is Fit.CHANGED:
            yield _changed(each)
        elif each.fit is Fit.UNKNOWN:
            yield _unknown(each)


def _changed(each: Standing) -> CheckMessage:
    newer = max(version for name, version in registry.SAGAS if name == each.name) + 1
    return Error(
        f"{each.name} version {each.version} was changed while {_count(each)}: {each.differs}",
        hint=(
            f"Call what it is now version {newer}, and keep version {each.version} registered as"
            " it was until its instances have ended (`manage.py sagas definitions` counts them)."
        ),
        id=CHANGED,
    )


def _unknown(each: Standing) -> CheckMessage:
    return Error(
        f"{each.name} version {each.version} is not defined here while {_count(each)}",
        hint=(
            "Keep its definition registered until its instances have ended (`manage.py sagas"
            " definitions` counts them). To go back to a release that never had it, put"
            f" {UNKNOWN} into SILENCED_SYSTEM_CHECKS: its instances then wait for one that has."
        ),
        id=UNKNOWN,
    )


def _count(each: Standing) -> str:
    began = f"{each.oldest:%Y-%m-%d %H:%M} UTC" if each.oldest else "unknown"
    instances = "one instance of it lives" if each.living == 1 else f"{each.living} of it live"
    return f"{instances} (the oldest since {began})"


def refuse_unfit(*, but: tuple[str, ...] = ()) -> None:
    """Refuse to start where sagas live that this release could not carry out.

    A database that does not answer, or has no tables yet, refuses nothing here: every link looks
    again.

    :raises UnfitDefinition: with what differs and what to do about it
    """
    try:
        found = [each for each in unfit() if each.id not in but and not each.is_silenced()]
    except DatabaseError as error:
        log.warning("definitions_unchecked", extra={"error": str(error).strip()})
        return
    finally:
        connection_of("sagas").close()  # a worker forks after this
    if found:
        raise UnfitDefinition("\n".join(f"{each.msg}\n    {each.hint}" for each in found))
