"""All rehearsals of a saga, and the grid of their ends."""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sagas.core.definition import Saga
from sagas.models.saga import Status
from sagas.simulation.judging import Verdict, rehearse
from sagas.simulation.placements import COLUMNS, MESSAGES, Placement, placements
from sagas.simulation.understudy import understudy

ENDS = {Status.COMPLETED: ">", Status.COMPENSATED: "<"}
LEGEND = "> completed  < compensated  p parked first, resumed by an operator  ! wrong"

Progress = Callable[[int, int], None]


def _silent(done: int, of: int) -> None:
    return


def every_placement(saga: Saga[Any], progress: Progress = _silent) -> Iterator[Verdict]:
    """Rehearse a saga with every single fault at every place."""
    play = understudy(saga)
    every = tuple(placements(play))
    for number, placement in enumerate(every, 1):
        yield rehearse(play, placement)
        progress(number, len(every))


def schedules(
    saga: Saga[Any],
    *,
    count: int,
    seed: int,
    progress: Progress = _silent,
) -> Iterator[Verdict]:
    """Rehearse a saga with two or three faults at once, chosen by a seed.

    The same seed chooses the same faults as long as the definition is the same.
    """
    play = understudy(saga)
    every = tuple(placements(play))
    chosen = random.Random(seed)
    for number in range(1, count + 1):
        yield rehearse(play, *chosen.sample(every, k=chosen.choice((2, 2, 3))))
        progress(number, count)


def table(verdicts: Sequence[Verdict]) -> str:
    """Draw the end states: a line a step and direction, a column a kind of fault."""
    cells: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in verdicts:
        placement = verdict.placements[0]
        cells.setdefault((placement.row, placement.column), []).append(verdict)
    rows = list(dict.fromkeys(row for row, _ in cells))
    rows.sort(key=lambda row: row in MESSAGES)
    columns = [column for column in COLUMNS if any(col == column for _, col in cells)]
    width = max(len(row) for row in rows) + 2
    lines = [" " * width + "".join(f"{column:>10}" for column in columns)]
    lines += [
        f"{row:<{width}}"
        + "".join(f"{_cell(cells.get((row, column), [])):>10}" for column in columns)
        for row in rows
    ]
    return "\n".join([*lines, "", LEGEND])


def _cell(verdicts: list[Verdict]) -> str:
    if not verdicts:
        return "."
    if any(verdict.wrong for verdict in verdicts):
        return "!"
    ends = "".join(
        sorted(
            {("p" if verdict.parked else "") + ENDS[Status(verdict.end)] for verdict in verdicts}
        )
    )
    return ends if len(verdicts) == 1 else f"{ends} x{len(verdicts)}"


def described(verdict: Verdict) -> dict[str, Any]:
    """Return one rehearsal for a JSON document."""
    return {
        "faults": [
            {"row": placed.row, "fault": placed.column, "at": placed.detail}
            for placed in verdict.placements
        ],
        "end": verdict.end,
        "parked": verdict.parked,
        "wrong": list(verdict.wrong),
    }


def told(placed: Sequence[Placement]) -> str:
    """Return the faults of a rehearsal in one line."""
    return " + ".join(placement.name for placement in placed)
