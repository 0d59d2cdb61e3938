"""A failpoint stands at every commit, publish and call of the engine, or a reason why not.

Read from the source: each function's commits and calls are put in a row with its failpoints, and
each must have a failpoint right before or right after it. A call of a function that has a
failpoint of its own counts as one.
"""

import ast
import re
from dataclasses import dataclass
from functools import cache

import pytest

from tests.architecture.source import CONTEXTS, Module, modules

WRITES = re.compile(r"(?<!FOR )\bUPDATE\s|\bINSERT\s+INTO\s|\bDELETE\s+FROM\s")
ORM_WRITES = {"update", "create", "get_or_create", "update_or_create", "bulk_create", "delete"}
OPENS = {"engine_cursor", "cursor_of", "cursor"}
PUBLISHES = {"apply_async", "send_task"}

# Statements of their own commit, whose failpoint stands in the function that calls them.
BESIDE = {
    "sagas.orchestration.store.claim": ("sagas.orchestration.executor.run_link", "claim.committed"),
    "sagas.orchestration.stops.record_fault": (
        "sagas.orchestration.faults._store",
        "fault.committed",
    ),
    "sagas.orchestration.branch_rows.claim": (
        "sagas.orchestration.branches.run_branch",
        "claim.committed",
    ),
    "sagas.orchestration.branch_stops.record_fault": (
        "sagas.orchestration.branches._Branch._store",
        "fault.committed",
    ),
    "sagas.orchestration.branch_stops.take": (
        "sagas.orchestration.compensation.undo_step",
        "branch.taken",
    ),
    "sagas.choreography.moves.claim": ("sagas.choreography.watchdog.watch", "watch.claimed"),
    "sagas.outbox.republish._settle": ("sagas.outbox.republish._compare", "republish.delivered"),
}
IN_A_TRANSACTION = "runs in its caller's transaction, which has its own places"
LAST = "nothing follows it, and the next run does again what was not done"
EXEMPT = {
    "sagas.append_only.guard": "part of `migrate`, and the next one does it again",
    "sagas.outbox.refused.pass_by": IN_A_TRANSACTION,
    "sagas.projections.rebuild._Work.give_up": LAST,
    "sagas.clock.travel": "moves the clock of tests and stories",
    "sagas.orchestration.barriers.journal_forward": IN_A_TRANSACTION,
    "sagas.orchestration.barriers.take": IN_A_TRANSACTION,
    "sagas.orchestration.requests.begin": IN_A_TRANSACTION,
    "sagas.orchestration.store.move": IN_A_TRANSACTION,
    "sagas.orchestration.store.tombstone": IN_A_TRANSACTION,
    "sagas.orchestration.handover.let_go": IN_A_TRANSACTION,
    "sagas.orchestration.locks.take": IN_A_TRANSACTION,
    "sagas.orchestration.signals.consume": IN_A_TRANSACTION,
    "sagas.orchestration.signals.wake": IN_A_TRANSACTION,
    "sagas.orchestration.insertion.insert": IN_A_TRANSACTION,
    "sagas.orchestration.stops.note_rejection": IN_A_TRANSACTION,
    "sagas.orchestration.stops.begin_compensation": (
        "by itself only for a deadline, and deadline.committed follows at both callers"
    ),
    "sagas.orchestration.stops.park": IN_A_TRANSACTION,
    "sagas.orchestration.stops.resume": IN_A_TRANSACTION,
    "sagas.orchestration.branch_rows.open_group": IN_A_TRANSACTION,
    "sagas.orchestration.branch_rows.intend": IN_A_TRANSACTION,
    "sagas.orchestration.branch_rows.commit": IN_A_TRANSACTION,
    "sagas.orchestration.branch_rows.join": IN_A_TRANSACTION,
    "sagas.orchestration.branch_stops.reject": IN_A_TRANSACTION,
    "sagas.orchestration.branch_stops.close": IN_A_TRANSACTION,
    "sagas.orchestration.branch_stops.reset": IN_A_TRANSACTION,
    "sagas.orchestration.branch_stops.stop": IN_A_TRANSACTION,
    "sagas.orchestration.skipping.carry_out": IN_A_TRANSACTION,
    "sagas.orchestration.skipping.close": IN_A_TRANSACTION,
    "sagas.orchestration.rollout.ensure": LAST,
    "sagas.choreography.opening._open": IN_A_TRANSACTION,
    "sagas.orchestration.sweep._wait_for_deadline": LAST,
    "sagas.orchestration.branch_stops.leave": LAST,
    "sagas.outbox.relay._lease": "relay.selected follows at each of its callers, in _pass_on",
    "sagas.orchestration.versions.leave": LAST,
    "sagas.outbox.attempts.take_back": LAST,
    "sagas.outbox.outside._Lease.give_back": "nothing follows it, and else the lease runs out",
    "sagas.outbox.catching_up._end": LAST,
    "sagas.projections.declaring.Projection._write": IN_A_TRANSACTION,
    "sagas.outbox.delivery._take_position": IN_A_TRANSACTION,
    "sagas.outbox.delivery._write_inbox": IN_A_TRANSACTION,
    "sagas.outbox.discarding._pass_over_once": IN_A_TRANSACTION,
    "sagas.outbox.history.delete_kept": LAST,
    "sagas.outbox.pruning._prune_batch": LAST,
    "sagas.outbox.pruning._prune_seen": LAST,
    "sagas.outbox.publishing.publish": IN_A_TRANSACTION,
    "sagas.outbox.resending._sent_again": IN_A_TRANSACTION,
    "sagas.idempotency.records._store": IN_A_TRANSACTION,
    "sagas.streams.reading.snapshot": "reads, and commits nothing",
}
ENGINE = [
    module
    for module in modules()
    if module.package == "sagas"
    and not module.is_migration
    and not module.name.startswith(
        # The last is the audience of the failpoints: it rehearses what happens at them.
        ("sagas.admin", "sagas.management", "sagas.groups", "sagas.simulation")
    )
]


@dataclass(frozen=True)
class Event:
    """A failpoint, or something that should have one beside it."""

    line: int
    is_failpoint: bool
    what: str


def name_called(node: ast.AST) -> str:
    """The last part of what a call calls."""
    if not isinstance(node, ast.Call):
        return ""
    return getattr(node.func, "attr", "") or getattr(node.func, "id", "")


def functions(module: Module):
    """Each function with its dotted name; methods too, inner functions as part of theirs."""
    for node in module.tree.body:
        if isinstance(node, ast.FunctionDef):
            yield f"{module.name}.{node.name}", node
        elif isinstance(node, ast.ClassDef):
            for method in node.body:
                if isinstance(method, ast.FunctionDef):
                    yield f"{module.name}.{node.name}.{method.name}", method


@cache
def with_failpoint() -> frozenset[str]:
    """The names of the functions that come by a failpoint themselves, and of that itself.

    Not of the one that publishes: between a commit and its message must be one, not only behind.
    """
    return frozenset(
        {"failpoint"}
        | {
            name.rpartition(".")[2]
            for module in ENGINE
            for name, tree in functions(module)
            if name != "sagas.orchestration.canvas.publish"
            and any(name_called(node) == "failpoint" for node in ast.walk(tree))
        }
    )


def statements(module: Module) -> dict[str, str]:
    """The module's constants of text, by name."""
    return {
        target.id: node.value.value
        for node in module.tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name) and isinstance(node.value.value, str)
    }


def text_in(node: ast.AST, known: dict[str, str]) -> str:
    """All text that a piece of code holds or names."""
    parts = []
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            parts.append(part.value)
        elif isinstance(part, ast.Name):
            parts.append(known.get(part.id, ""))
    return "\n".join(parts)


def is_transaction(node: ast.AST) -> bool:
    return isinstance(node, ast.With) and any(
        name_called(item.context_expr) == "transaction" for item in node.items
    )


def is_cursor(node: ast.AST) -> bool:
    return isinstance(node, ast.With) and any(
        name_called(item.context_expr) in OPENS for item in node.items
    )


def events(function: ast.FunctionDef, known: dict[str, str]) -> list[Event]:
    """The commits, messages and failpoints of a function, in the order of its text."""
    nodes = [node for node in ast.walk(function) if isinstance(node, ast.With | ast.Call)]
    blocks = [node for node in nodes if is_transaction(node)]
    # The text of a statement may be put together where it is not sent.
    writes = WRITES.search(text_in(function, known)) is not None
    found = []
    for node in nodes:
        end = node.end_lineno or 0
        alone = not any(block.lineno <= node.lineno <= (block.end_lineno or 0) for block in blocks)
        if name_called(node) in with_failpoint():
            found.append(Event(node.lineno, is_failpoint=True, what=name_called(node)))
        elif is_transaction(node):
            # It commits behind its last line.
            found.append(Event(end, is_failpoint=False, what="a transaction"))
        elif name_called(node) in PUBLISHES:
            found.append(Event(node.lineno, is_failpoint=False, what="a message"))
        elif alone and ((is_cursor(node) and writes) or is_orm_write(node)):
            found.append(Event(end, is_failpoint=False, what="a statement"))
    return sorted(found, key=lambda event: (event.line, not event.is_failpoint))


def is_orm_write(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and name_called(node) in ORM_WRITES
        and ".objects" in ast.unparse(node.func)
    )


def uncovered(function: ast.FunctionDef, known: dict[str, str]) -> list[str]:
    """What has no failpoint right before it or right behind it."""
    row = events(function, known)
    lonely = []
    for number, event in enumerate(row):
        beside = row[max(number - 1, 0) : number] + row[number + 1 : number + 2]
        if not event.is_failpoint and not any(other.is_failpoint for other in beside):
            lonely.append(f"{event.what}, line {event.line}")
    return lonely


@pytest.mark.parametrize("module", ENGINE, ids=str)
def test_a_failpoint_stands_beside_every_commit_and_message_of_the_engine(module):
    bare = {name: uncovered(tree, statements(module)) for name, tree in functions(module)}
    bare = {name: lonely for name, lonely in bare.items() if lonely}

    assert {name: at for name, at in bare.items() if name not in {*BESIDE, *EXEMPT}} == {}


def test_no_excuse_is_out_of_date():
    bare = {
        name
        for module in ENGINE
        for name, tree in functions(module)
        if uncovered(tree, statements(module))
    }

    assert {*BESIDE, *EXEMPT} - bare == set()


@pytest.mark.parametrize("statement", BESIDE)
def test_a_place_that_stands_beside_is_there(statement):
    caller, place = BESIDE[statement]
    [tree] = [tree for module in ENGINE for name, tree in functions(module) if name == caller]
    called = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]

    assert statement.rpartition(".")[2] in {name_called(node) for node in called}
    assert place in {
        node.args[0].value
        for node in called
        if name_called(node) == "failpoint" and isinstance(node.args[0], ast.Constant)
    }


# -- calls to other systems ------------------------------------------------------------------------


def test_the_engine_calls_another_system_in_one_place_with_failpoints_on_both_sides():
    named = []
    for module in ENGINE:
        for name, tree in functions(module):
            passed = {
                ast.unparse(argument)
                for node in ast.walk(tree)
                if name_called(node) == "call_out" and isinstance(node, ast.Call)
                for argument in node.args
            }
            used = set(re.findall(r"\bhandler\.(?:call|close)\b(?! is)", ast.unparse(tree)))
            assert used <= passed, name
            named += sorted(used)

    assert sorted(named) == ["handler.call", "handler.call", "handler.close"]


def names_used(node: ast.AST) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def remote_functions(module: Module) -> set[str]:
    """The functions that the engine calls with no transaction open, and what they call in turn."""
    found = {
        keyword.value.id
        for node in ast.walk(module.tree)
        if name_called(node) == "handles_remote" and isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg in {"call", "close"} and isinstance(keyword.value, ast.Name)
    }
    bodies = {name.rpartition(".")[2]: names_used(tree) for name, tree in functions(module)}
    for _ in bodies:
        found |= {used for name in found & set(bodies) for used in bodies[name] & set(bodies)}
    return found


@pytest.mark.parametrize("context", CONTEXTS)
def test_a_context_calls_another_system_only_where_the_engine_has_failpoints(context):
    for module in modules():
        if module.package != context or module.name.startswith("payments.simulator"):
            continue
        callers = {
            name.rpartition(".")[2]
            for name, tree in functions(module)
            if any(name_called(node) == "gateway" for node in ast.walk(tree))
        }
        assert callers - remote_functions(module) == set(), module.name


def test_messages_are_sent_by_the_engine_alone():
    senders = {
        module.name
        for module in modules()
        if module.package != "config" and not module.name.startswith("payments.simulator")
        for node in ast.walk(module.tree)
        if name_called(node) in PUBLISHES
    }

    assert senders == {"sagas.orchestration.canvas"}


# -- the check itself ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "lonely"),
    [
        ("with transaction(c):\n  work()", 1),
        ("with transaction(c):\n  work()\n  failpoint('a')", 0),
        ("with transaction(c):\n  work()\nfailpoint('a')", 0),
        ("with transaction(c):\n  work()\nwith transaction(c):\n  work()\nfailpoint('a')", 1),
        ("signature.apply_async()", 1),
        ("signature.apply_async()\nfailpoint('a')", 0),
        ("with engine_cursor() as c:\n  c.execute('UPDATE sagas_saga SET x = 1')", 1),
        ("with engine_cursor() as c:\n  c.execute('SELECT 1 FROM t FOR UPDATE')", 0),
        ("with engine_cursor() as c:\n  c.execute(_MARK)", 1),
        ("with transaction(c):\n  X.objects.create(a=1)\n  failpoint('a')", 0),
        ("X.objects.filter(a=1).update(b=2)", 1),
        ("{}.update(b=2)", 0),
    ],
)
def test_a_planted_omission_is_found(source, lonely):
    body = "\n".join(f"  {line}" for line in source.splitlines())
    [function] = ast.parse(f"def f():\n{body}").body

    assert len(uncovered(function, {"_MARK": "DELETE FROM t"})) == lonely
