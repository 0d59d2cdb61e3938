"""Evaluating invariants: each part is one statement over the audit views."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from django.conf import settings
from django.db.backends.utils import CursorWrapper

# What is younger may still be under way: an event is delivered again after REPUBLISH_AFTER.
ROUNDS: Final = 4


class When(StrEnum):
    """When a part holds."""

    ALWAYS = "always"
    """In every snapshot."""
    ENDED = "ended"
    """For what has ended, whatever else is under way."""
    REST = "rest"
    """For what has had its time; with ``at_rest`` for everything."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One statement of an invariant.

    Parts may name the parameters ``at_rest``, ``age`` and ``detached``.
    """

    says: str
    """What holds, in one sentence."""
    when: When
    checked: str
    """SQL that counts what is looked at."""
    violations: str
    """SQL that returns ``what`` (a text) and ``size`` (how bad) for each violation."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Invariant:
    """Something that has to hold, whatever was killed or delivered twice."""

    id: str
    name: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class PartResult:
    """How one part was found."""

    says: str
    when: str
    checked: int
    violations: int
    worst: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """How an invariant was found; ``worst`` is the first part's that is violated."""

    id: str
    name: str
    checked: int
    violations: int
    worst: str | None
    parts: tuple[PartResult, ...]


def evaluate(
    cursor: CursorWrapper,
    invariants: Iterable[Invariant],
    *,
    at_rest: bool = False,
    age: float | None = None,
    detached: bool | None = None,
) -> list[Result]:
    """Evaluate invariants on the cursor's snapshot.

    :param at_rest: nothing is under way, so what holds at rest has to hold for everything
    :param age: seconds after which what holds at rest has to hold for a thing in any case
    :param detached: contexts have databases of their own, so that a step is two commits and what
        was done may be known to its context alone; by default as the settings say
    """
    parameters = {
        "at_rest": at_rest,
        "age": default_age() if age is None else age,
        "detached": bool(settings.CONTEXT_URLS) if detached is None else detached,
    }
    return [_result(cursor, invariant, parameters) for invariant in invariants]


def default_age() -> float:
    """Return the age in seconds at which everything has had its time."""
    return float(settings.SAGAS["REPUBLISH_AFTER"]) * ROUNDS


def guarded(triggers: Sequence[str], says: str) -> Part:
    """Make the part which says that the triggers that keep rows from changing are on."""
    listed = ", ".join(f"('{trigger}')" for trigger in triggers)
    return Part(
        says=says,
        when=When.ALWAYS,
        checked=f"SELECT {len(triggers)}",
        violations=f"""
            SELECT 'trigger ' || expected.name || ' is missing or off' AS what, 1 AS size
            FROM (VALUES {listed}) AS expected (name)
            WHERE NOT EXISTS (
                SELECT FROM audit.v_guards
                WHERE table_name || '.' || trigger_name = expected.name AND enabled)
        """,  # noqa: S608
    )


def _result(cursor: CursorWrapper, invariant: Invariant, parameters: dict[str, Any]) -> Result:
    parts = tuple(_part(cursor, part, parameters) for part in invariant.parts)
    return Result(
        id=invariant.id,
        name=invariant.name,
        checked=sum(part.checked for part in parts),
        violations=sum(part.violations for part in parts),
        worst=next((part.worst for part in parts if part.violations), None),
        parts=parts,
    )


def _part(cursor: CursorWrapper, part: Part, parameters: dict[str, Any]) -> PartResult:
    # One statement, so that what is counted and what is violated are of one snapshot.
    cursor.execute(
        f"SELECT ({part.checked})::bigint, count(*)::bigint,"  # noqa: S608
        f" (array_agg(what ORDER BY size DESC, what))[1] FROM ({part.violations}) AS violation",
        parameters,
    )
    checked, violations, worst = cursor.fetchall()[0]
    return PartResult(
        says=part.says, when=part.when.value, checked=checked, violations=violations, worst=worst
    )
