"""Every guard of the engine, found where it stands.

A guard is a condition that refuses a change: a part of the WHERE of an UPDATE, a DELETE or an
``ON CONFLICT``, a lock, a constraint or a trigger of the database. Conditions that only name the
row are none. What refuses in Python is listed by hand in ``table.py``.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.architecture.source import modules

PARTS = (
    "sagas.choreography",
    "sagas.orchestration",
    "sagas.outbox",
    "sagas.idempotency",
    "sagas.clock",
    "sagas.projections",
)
CHANGES = re.compile(r"\b(?:UPDATE|DELETE FROM|INSERT INTO)\b")
WHERE = re.compile(
    r"\bWHERE (.*?)(?= RETURNING\b| ORDER BY\b| GROUP BY\b| LIMIT\b| FOR [US]| WHERE\b|$)"
)
LOCKS = re.compile(
    r"FOR (?:NO KEY )?(?:UPDATE|SHARE)(?: OF \w+)?(?: SKIP LOCKED)?|pg_\w*advisory\w*lock"
)
# Says which row is meant, not in which state it has to be.
NAMES = re.compile(
    r"\{\}|(?:\w+\.)?(?:id|target_id|target_type|position|saga_id|name|key|event_id|aggregatetype|aggregateid|ctid|step_no"
    r"|direction|context) (?:=|IN) .*|true|[\w.]+::text IS NOT NULL|%\(\w+\)s::text IS NOT NULL",
    re.IGNORECASE,
)


@dataclass(frozen=True, order=True)
class Guard:
    """A condition, where it stands."""

    module: str
    place: str
    """The constant or the function in which its statement is written."""
    text: str

    def __str__(self):
        return f"{self.module}.{self.place}: {self.text}"


@dataclass(frozen=True)
class Statement:
    """A text of a module that changes or locks rows."""

    place: str
    node: ast.Constant | ast.JoinedStr

    @property
    def flat(self) -> str:
        """In one line, with holes for what is put in."""
        node = self.node
        parts = [node] if isinstance(node, ast.Constant) else node.values
        text = "".join(str(p.value) if isinstance(p, ast.Constant) else "{}" for p in parts)
        return " ".join(re.sub(r"--.*", "", text).split())

    def guards(self) -> list[str]:
        """Return what refuses a change in it."""
        parts = [part for match in WHERE.finditer(self.flat) for part in conjuncts(match[1])]
        return [*(p for p in parts if p and not NAMES.fullmatch(p)), *LOCKS.findall(self.flat)]


def statements(tree: ast.Module) -> Iterator[Statement]:
    """Find the statements of a module."""
    for top in tree.body:
        for place, inner in _places(top):
            held = {
                id(v) for n in ast.walk(inner) if isinstance(n, ast.JoinedStr) for v in n.values
            }
            for node in ast.walk(inner):
                text = isinstance(node, ast.Constant) and isinstance(node.value, str)
                if (text and id(node) not in held) or isinstance(node, ast.JoinedStr):
                    statement = Statement(place, node)
                    if re.match(r"[A-Z ]", statement.flat) and (
                        CHANGES.search(statement.flat) or LOCKS.search(statement.flat)
                    ):
                        yield statement


def _places(top: ast.stmt) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(top, ast.ClassDef):
        for inner in top.body:
            yield from ((f"{top.name}.{place}", node) for place, node in _places(inner))
    elif isinstance(top, ast.FunctionDef):
        yield top.name, ast.Module(body=_without_docstring(top.body), type_ignores=[])
    elif isinstance(top, ast.Assign) and isinstance(top.targets[0], ast.Name):
        yield top.targets[0].id, top


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0]
    is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return body[1:] if is_docstring else body


def conjuncts(condition: str) -> list[str]:
    """Return the parts of a condition that are joined by AND outside of parentheses."""
    depth, parts, part = 0, [], []
    for word in re.sub(r"(BETWEEN \S+) AND ", r"\1 AND\0", condition).split(" "):
        after = depth + word.count("(") - word.count(")")
        if after < 0:
            # The end of the query that this one stands in.
            part.append(word.partition(")")[0] if depth == 0 else word[: -abs(after)])
            break
        if word == "AND" and depth == 0:
            parts, part = [*parts, part], []
        else:
            part.append(word)
        depth = after
    return [" ".join(each).replace("\0", " ").strip() for each in [*parts, part]]


def found() -> list[Guard]:
    """Return every guard that stands in a statement of the engine."""
    return sorted(
        {
            Guard(module.name, statement.place, text)
            for module in modules()
            if module.name.startswith(PARTS)
            for statement in statements(module.tree)
            for text in statement.guards()
        }
    )


def without(source: str, *taken: Guard) -> ast.Module:
    """Return a module whose statements do without some guards."""
    tree = ast.parse(source)
    # First every statement is read, then changed: what is taken out of one hides another.
    held = [(statement, statement.guards()) for statement in statements(tree)]
    for guard in taken:
        words = guard.text.removeprefix("{} ").split(" ")
        exactly = r"\s+".join(map(re.escape, words))
        pattern = re.compile(rf"(?<![\w.]){exactly}(?!\w|\s+-|\s+SKIP)")
        count = sum(
            _take_out(statement.node, pattern, guard.text)
            for statement, texts in held
            if statement.place == guard.place and guard.text in texts
        )
        assert count, f"{guard} is not to be found"
    return tree


def _take_out(node: ast.Constant | ast.JoinedStr, pattern: re.Pattern[str], text: str) -> int:
    count = 0
    for part in [node] if isinstance(node, ast.Constant) else node.values:
        if isinstance(part, ast.Constant):
            part.value, times = pattern.subn(instead(text).replace("\\", r"\\"), part.value)
            count += times
    return count


def instead(text: str) -> str:
    """Return what stands in the place of a guard that is taken out."""
    if text.startswith("FOR "):
        return ""
    if "advisory" in text:
        return "coalesce(true, true) OR 0 = num_nonnulls" if "try" in text else "num_nonnulls"
    # Parameters that have no name are counted, so they have to stay.
    parameters = text.count("%s")
    if parameters:
        always = f"num_nulls({', '.join(['%s'] * parameters)}) >= 0"
        return f"IS NOT NULL OR {always}" if text.startswith("{}") else always
    return "true"
