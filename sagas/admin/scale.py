"""The time axis of a saga's picture: true to scale where something happens, cut where nothing does.

A checkout of forty milliseconds with a wait of two minutes in it would be two dots on a true
scale. So a long idle stretch is drawn short, and marked with a break that says how long it was.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

LARGEST_GAP = 0.35
"""An idle stretch is cut to this part of all the rest."""
STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000)
LONG_STEPS = (120_000, 300_000, 600_000, 1_800_000, 3_600_000, 10_800_000, 43_200_000, 86_400_000)
MOST_TICKS = 8

Span = tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Break:
    """A place where the axis is cut."""

    x: float
    length: timedelta


@dataclass(frozen=True, kw_only=True, slots=True)
class Tick:
    """A mark on the axis."""

    x: float
    text: str


class Scale:
    """Maps instants between two ends to a width, in pieces that are linear each."""

    def __init__(
        self,
        start: datetime,
        end: datetime,
        busy: Iterable[tuple[datetime, datetime]],
        width: float,
    ) -> None:
        """Lay out the axis.

        :param busy: the stretches in which something happened
        """
        self.start = start
        self.width = width
        length = max((end - start).total_seconds() * 1000, 1.0)
        inside = [(self._ms(a), self._ms(b)) for a, b in busy]
        self._edges, self._cut = _pieces(inside, length)
        drawn = _drawn(self._edges, self._cut)
        total = sum(drawn) or 1.0
        self._xs = [0.0]
        for piece in drawn:
            self._xs.append(self._xs[-1] + piece / total * width)

    def _ms(self, at: datetime) -> float:
        return (at - self.start).total_seconds() * 1000

    def x(self, at: datetime) -> float:
        """Return where an instant is drawn; what lies outside is drawn at the end."""
        return self._x(self._ms(at))

    def _x(self, ms: float) -> float:
        edges = self._edges
        ms = min(max(ms, 0.0), edges[-1])
        piece = min(bisect_right(edges, ms) - 1, len(edges) - 2)
        low, high = edges[piece], edges[piece + 1]
        part = (ms - low) / (high - low) if high > low else 0.0
        return self._xs[piece] + part * (self._xs[piece + 1] - self._xs[piece])

    def breaks(self) -> list[Break]:
        """Return where the axis is cut."""
        return [
            Break(
                x=(self._xs[piece] + self._xs[piece + 1]) / 2,
                length=timedelta(milliseconds=self._edges[piece + 1] - self._edges[piece]),
            )
            for piece in sorted(self._cut)
        ]

    def ticks(self) -> list[Tick]:
        """Return marks at round distances from the start, none inside a cut."""
        pieces = range(len(self._edges) - 1)
        shown = sum(
            self._edges[piece + 1] - self._edges[piece]
            for piece in pieces
            if piece not in self._cut
        )
        step = _round_step(shown)
        found = [Tick(x=0.0, text="0")]
        for piece in pieces:
            if piece in self._cut:
                continue
            first = int(self._edges[piece] // step) + 1
            last = int(self._edges[piece + 1] // step)
            for count in range(first, min(last, first + 4 * MOST_TICKS) + 1):
                x = self._x(count * step)
                if x - found[-1].x >= self.width / (2 * MOST_TICKS):
                    found.append(Tick(x=x, text=_offset(count * step)))
        return found


def _pieces(busy: Sequence[Span], length: float) -> tuple[list[float], set[int]]:
    """Cut the time at the ends of what happened; say which pieces are idle and too long."""
    merged: list[list[float]] = []
    inside = ((max(0.0, low), min(length, max(low, high))) for low, high in sorted(busy))
    for low, high in inside:
        if merged and low <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], high)
        elif low <= length:
            merged.append([low, high])
    edges = sorted({0.0, length, *(edge for span in merged for edge in span)})
    idle = [
        piece
        for piece in range(len(edges) - 1)
        if not any(low <= edges[piece] and edges[piece + 1] <= high for low, high in merged)
    ]
    rest = length - sum(edges[piece + 1] - edges[piece] for piece in idle)
    # Without anything busy of some length, a true scale says it best.
    most = max(rest, length / 1000) * LARGEST_GAP if idle else length
    return edges, {piece for piece in idle if edges[piece + 1] - edges[piece] > 2 * most}


def _drawn(edges: Sequence[float], cut: set[int]) -> list[float]:
    lengths = [edges[piece + 1] - edges[piece] for piece in range(len(edges) - 1)]
    kept = sum(length for piece, length in enumerate(lengths) if piece not in cut)
    short = max(kept, edges[-1] / 1000) * LARGEST_GAP / max(len(cut), 1)
    return [short if piece in cut else length for piece, length in enumerate(lengths)]


def _round_step(length: float) -> float:
    for step in (*STEPS, *LONG_STEPS):
        if length / step <= MOST_TICKS:
            return float(step)
    return float(LONG_STEPS[-1] * max(1, round(length / LONG_STEPS[-1] / MOST_TICKS)))


def _offset(ms: float) -> str:
    if ms < 1000:
        return f"+{ms:.0f} ms"
    if ms < 60_000:
        return f"+{ms / 1000:g} s"
    unit, size, part = ("min", 60_000, "s") if ms < 3_600_000 else ("h", 3_600_000, "min")
    whole, rest = divmod(ms, size)
    finer = f" {rest * 60 / size:.4g} {part}" if rest else ""
    return f"+{whole:.0f} {unit}{finer}"
