"""Recovery and rates, worked out from when each saga began and ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WINDOW: Final = 5.0
"""Seconds over which a rate after the heal is taken."""
ENOUGH: Final = 0.9
"""Part of the base line that counts as back."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Life:
    """When a saga began and ended, in seconds since the epoch."""

    saga_id: str
    began: float
    ended: float | None
    parked: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Recovery:
    """Seconds from a heal until what was under way had ended."""

    sagas: int
    p50: float
    p95: float
    longest: float
    unfinished: int = 0
    parked: int = 0


def recovery(
    lives: Sequence[Life], spans: Sequence[tuple[float, float, Sequence[str]]]
) -> Recovery:
    """Work out how long the sagas in flight took after the heal, over all injections of a fault.

    :param spans: of each injection when it struck, when it was healed, and whom it touched;
        without names it has touched all that were under way meanwhile
    """
    by_id = {life.saga_id: life for life in lives}
    took: list[float] = []
    unfinished = parked = 0
    for began, healed, touched in spans:
        for life in [by_id[name] for name in touched if name in by_id] or [
            life for life in lives if _was_under_way(life, began, healed)
        ]:
            if life.parked:
                parked += 1
            elif life.ended is None:
                unfinished += 1
            else:
                took.append(max(0.0, life.ended - healed))
    return Recovery(
        sagas=len(took) + unfinished + parked,
        p50=quantile(took, 0.5),
        p95=quantile(took, 0.95),
        longest=max(took, default=0.0),
        unfinished=unfinished,
        parked=parked,
    )


def _was_under_way(life: Life, began: float, healed: float) -> bool:
    return life.began <= healed and (life.ended is None or life.ended >= began)


def rate(lives: Sequence[Life], began: float, ended: float) -> float:
    """Return how many ended in a second."""
    if ended <= began:
        return 0.0
    return sum(1 for life in lives if life.ended and began <= life.ended < ended) / (ended - began)


def back_after(
    lives: Sequence[Life], healed: float, until: float, base_line: float
) -> tuple[float | None, float]:
    """Return after how many seconds the rate was back, and the best rate that was seen."""
    best = 0.0
    start = healed
    while start + WINDOW <= until:
        seen = rate(lives, start, start + WINDOW)
        best = max(best, seen)
        if seen >= ENOUGH * base_line:
            return start + WINDOW - healed, seen
        start += 0.5
    return None, best


def quantile(values: Sequence[float], part: float) -> float:
    """Return the value that this part of the values does not exceed."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]
