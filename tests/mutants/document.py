"""docs/mutants.md: which test notices the absence of which guard."""

import fcntl
import re

from tests.architecture.source import ROOT
from tests.mutants import table

PATH = ROOT / "docs" / "mutants.md"
HEAD = """\
# Guards and what happens without them

Each guard of the engine is taken out in turn, and the tests are asked whether they notice. A guard
of a statement is a condition that refuses a change; it is found in the source
(`tests/mutants/guards.py`), so none can be forgotten
(`test_every_guard_is_in_the_document`). What is refused in Python and by the database is listed in
`tests/mutants/table.py`. The run is

    python3 manage.py test tests/mutants -m long --write

It starts the tests named there in a process whose engine has not got the guard, until one fails.
"Beside" means that no test notices, since another guard does the same work: status, cursor and
token of a statement all change with a cancel. Such guards are taken out together as well ("all of
them"), and then somebody has to notice. `tests/concurrency/sagas/test_guards.py` says of the most
important ones what goes wrong.
`test_under_fixed_schedules_every_saga_and_event_comes_out_right` are the
[schedules](proof.md#schedules-of-the-real-code).

| guard | noticed by | seconds |
|---|---|---|
"""
ROW = re.compile(r"^\| `(?P<name>.*)` \| (?P<noticed>.*) \| (?P<seconds>[\d.]*) \|$", re.MULTILINE)


def rows() -> dict[str, tuple[str, str]]:
    """Return what the document says of each guard."""
    text = PATH.read_text() if PATH.exists() else ""
    return {
        match["name"]: (match["noticed"], match["seconds"])
        for match in ROW.finditer(text.replace("\\|", "¦"))
    }


NOT_YET = "not taken out yet"


def complete() -> None:
    """Give each guard a row, and take out the rows of those that are gone."""
    known = rows()
    _keep({name: known.get(name, (NOT_YET, "")) for name in table.mutants()})


def write(name: str, test: str, seconds: float) -> None:
    """Keep one result, and drop the guards that are gone."""
    with (ROOT / "tests" / "mutants" / "table.py").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        mutants = table.mutants()
        known = {**rows(), name: (_noticed(mutants[name], test), f"{seconds:.0f}")}
        _keep({guard: row for guard, row in known.items() if guard in mutants})


def _keep(known: dict[str, tuple[str, str]]) -> None:
    lines = [f"| `{guard}` | {by} | {took} |" for guard, (by, took) in sorted(known.items())]
    PATH.write_text(HEAD + "\n".join(lines) + "\n")


def _noticed(mutant: table.Mutant, test: str) -> str:
    if mutant.beside and not test:
        return f"beside {mutant.beside}"
    return f"`{re.sub(r'.*::', '', test).partition('[')[0]}`" if test else "**nobody**"


if __name__ == "__main__":
    complete()
