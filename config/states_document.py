"""`docs/states.md`: every state and every move, made from the code.

The states and moves come from the modules that the code itself obeys, found by name as urls are.
The words about them stand in `config/states_words.py`; a state or a move without words, or words
without a move, is refused.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from config.states_words import MACHINES

PATH: Final = Path(__file__).resolve().parent.parent / "docs" / "states.md"

HEAD: Final = """\
# States

What an order, its checkout and everything the checkout touches may be, and how each gets from one
state to the next. This file is made from the code; after a change of states or moves:

    python3 manage.py states --write

A move that is not listed does not happen: every change is one conditional `UPDATE` that names the
states it may start from, and zero rows changed means that somebody was faster.
"""


class WordsMissing(Exception):
    """The words about a state machine do not fit its states and moves."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """One kind of thing that has states."""

    title: str
    says: str
    source: str
    """The module that holds the two names which follow."""
    states: str
    moves: str
    begins: Sequence[str]
    meanings: Mapping[str, str]
    reasons: Mapping[tuple[str, str], str]


def document() -> str:
    """Return the whole document.

    :raises WordsMissing: if a state or a move has no words, or words have no state or move
    """
    return "\n".join([HEAD, *(_section(Machine(**machine)) for machine in MACHINES)])


def _section(machine: Machine) -> str:
    module = import_module(machine.source)
    names = [str(state.value) for state in getattr(module, machine.states)]
    moves = _moves_of(getattr(module, machine.moves), names)
    _check(machine.title, "states", names, machine.meanings)
    _check(machine.title, "moves", moves, machine.reasons)
    return "\n".join(
        [
            f"## {machine.title}",
            "",
            machine.says,
            "",
            "```mermaid",
            "stateDiagram-v2",
            "    direction LR",
            *(f"    [*] --> {name}" for name in machine.begins),
            *(f"    {source} --> {target}" for source, target in moves),
            *(f"    {name} --> [*]" for name in names if not _leads_on(name, moves)),
            "```",
            "",
            "| state | meaning |",
            "|---|---|",
            *(f"| `{name}` | {machine.meanings[name]} |" for name in names),
            "",
            *_table_of_moves(machine, moves),
            f"Source: `{machine.source.replace('.', '/')}.py`.",
            "",
        ]
    )


def _moves_of(moves: Mapping[Any, frozenset[Any]], names: Sequence[str]) -> list[tuple[str, str]]:
    found = [
        (str(source.value), str(target.value))
        for source, targets in moves.items()
        for target in targets
    ]
    return sorted(found, key=lambda move: (names.index(move[0]), names.index(move[1])))


def _leads_on(name: str, moves: Iterable[tuple[str, str]]) -> bool:
    return any(source == name for source, _ in moves)


def _table_of_moves(machine: Machine, moves: Sequence[tuple[str, str]]) -> list[str]:
    if not moves:
        return []
    rows = (
        f"| `{source}` → `{target}` | {machine.reasons[source, target]} |"
        for source, target in moves
    )
    return ["| move | when |", "|---|---|", *rows, ""]


def _check(title: str, what: str, found: Iterable[Any], words: Iterable[Any]) -> None:
    found, words = set(found), set(words)
    if found != words:
        raise WordsMissing(
            f"{title}: {what} without words {sorted(found - words)}, "
            f"words without {what} {sorted(words - found)}: see config/states_words.py"
        )
