"""What the documents say is compared with the code: names of tests, paths, variables, examples."""

import ast
import json
import re
import subprocess
import sys
from types import ModuleType

import pytest
from django.core.management import call_command, execute_from_command_line

from billing import choreographies
from config import event_map_document
from config.states_document import MACHINES, PATH, Machine, WordsMissing, document
from config.timing import NUMBERS, PREFIX, SECONDS, SWITCHES
from orders.models import Order
from sagas.core.keys import Direction
from sagas.core.states import RunOutcome, SagaState
from sagas.failpoints import PLACES
from sagas.models import RunState, SagaInstance, Status
from sagas.orchestration import canvas, registry
from sagas.orchestration.carried import LinkEnd
from sagas.orchestration.executor import run_link
from sagas.outbox.subscriptions import consumers_of
from sagas.transactions import ENGINE as ENGINE_ITSELF
from tests.architecture.source import CONTEXTS, ROOT, modules
from tests.factories import a_sku, an_order
from tests.workers.test_kills import ENGINE, EVENTS, backward_places, forward_places

DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
# Pointed to before they are there.
README = (ROOT / "README.md").read_text()
ENGINE_DOCUMENT = (ROOT / "docs" / "engine.md").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
# Set by the machine or by tools, not by whoever runs the product.
NOT_OURS = {"PATH", "LC_ALL", "TZ", "NO_COLOR", "PYTHONUNBUFFERED", "DJANGO_SETTINGS_MODULE"}


@pytest.fixture(scope="module")
def tests():
    """The name of every test there is."""
    return {
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    }


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_test_that_is_named_exists(path, tests):
    named = set(re.findall(r"`(test_\w+)`", path.read_text()))

    assert named - tests == set()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_that_is_named_or_linked_exists(path):
    text = path.read_text()
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    linked = [
        link.partition("#")[0]
        for link in re.findall(r"\]\(([^)\s]+)\)", prose)
        if not re.match(r"https?://|#", link)
    ]
    named = re.findall(
        r"`((?:config|orders|billing|payments|sagas|tests|deploy|docs)/[\w./-]+)`", prose
    )

    missing = [link for link in linked if not (path.parent / link).exists()]
    missing += [name for name in set(named) if not (ROOT / name).exists()]
    assert missing == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_link_into_a_document_finds_its_heading(path):
    lost = []
    for link in re.findall(r"\]\(([^)\s]*#[^)\s]+)\)", path.read_text()):
        file, _, heading = link.partition("#")
        if not link.startswith("http"):
            target = path.parent / file if file else path
            lost += [link] if heading not in anchors(target.read_text()) else []

    assert lost == []


def anchors(text):
    """The addresses of a document's headings, as the usual renderers make them."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    }


def test_the_states_are_those_of_the_code():
    assert PATH.read_text() == document(), "run: python3 manage.py states --write"


def test_the_map_of_events_is_that_of_the_code():
    assert event_map_document.PATH.read_text() == event_map_document.document(), (
        "run: python3 manage.py eventmap --write"
    )


def test_the_map_of_events_is_the_same_for_other_programs(capsys):
    call_command("eventmap", "--json")
    listed = json.loads(capsys.readouterr().out)["events"]

    [captured] = [one for one in listed if one["event"] == "payments.PaymentCaptured"]
    assert captured["published_by"] == ["payments/services.py: capture"]
    assert captured["heard_by"] == [
        {"context": "billing", "handler": "billing.handlers.book_payment"},
        {"context": "orders", "handler": "orders.projections.captured"},
        {"context": "orders", "handler": "orders.timeline.line_of_capture"},
    ]


def test_a_state_without_words_is_refused(monkeypatch):
    poorer = {**MACHINES[0], "meanings": {}}
    monkeypatch.setattr("config.states_document.MACHINES", (poorer,))

    with pytest.raises(WordsMissing, match="states without words"):
        document()


def test_every_module_with_states_is_in_the_document():
    here = {(Machine(**machine).source, Machine(**machine).moves) for machine in MACHINES}
    declared = {
        (module.name, name)
        for module in modules()
        if module.name.endswith(".states")
        for name in re.findall(r"^(\w+_TRANSITIONS)\b", module.text, re.MULTILINE)
    }

    assert here == declared


def test_the_states_of_the_engine_are_those_of_its_tables():
    assert {state.value for state in SagaState} == set(Status.values)
    assert {state.value for state in RunOutcome} == set(RunState.values)


def test_every_event_is_in_the_document_with_who_hears_it():
    table = (ROOT / "docs" / "contexts.md").read_text()
    rows = [row for row in table.splitlines() if row.startswith("|")]
    told = {
        name
        for module in modules()
        if module.name in {f"{context}.events" for context in CONTEXTS}
        for name in re.findall(r'name: ClassVar\[str\] = "([\w.]+)"', module.text)
    }

    for event in told:
        [row] = [row for row in rows if f"`{event}`" in row.partition(" | ")[0]]
        heard = re.findall(r"`(\w+)`", row.split(" | ")[2])
        # Of what the engine hears in detached databases the page of flows tells.
        assert heard == [who for who in consumers_of(event) if who != ENGINE_ITSELF], event
        assert ("nobody yet" in row) is (not heard), event


def test_every_crash_point_is_in_the_table_and_none_that_is_not_there():
    table = ENGINE_DOCUMENT.partition("## 9. Crash points")[2].partition("## 10.")[0]

    assert set(re.findall(r"^\| `([a-z.]+_?[a-z_]*)` \|", table, re.MULTILINE)) == set(PLACES)


def test_the_readme_counts_the_places_as_the_tests_do():
    forward = len({*forward_places(), *ENGINE, *EVENTS})
    backward = len(set(backward_places()))

    assert f"at each of {forward} places on the way forward" in README
    assert f"at each of {backward} places on the way back" in README


def test_every_variable_is_documented():
    read = {
        name
        for module in modules()
        if not module.name.startswith("payments.simulator")
        for name in re.findall(
            r'(?:env_\w+\(\s*|environ\.get\(|environ\[)"([A-Z][A-Z_0-9]+)"', module.text
        )
    } - NOT_OURS
    documented = set(re.findall(r"`([A-Z][A-Z_0-9]+)`", OPERATIONS))

    assert read - documented == set()


def test_every_timing_is_documented_with_its_defaults():
    table = dict(re.findall(r"^\| `([A-Z_]+)` \| ([\d.]+ \| [\d.]+) \|", OPERATIONS, re.MULTILINE))

    assert table == {
        name: f"{normal:.10g} | {fast:.10g}"
        for name, (normal, fast) in (SECONDS | NUMBERS | SWITCHES).items()
    }
    assert f"`{PREFIX}<name>`" in OPERATIONS


def test_the_commands_of_the_processes_are_those_that_run():
    for process in json.loads((ROOT / "docs" / "processes.json").read_text())["processes"]:
        own = "".join(f"{name}={value} " for name, value in process["environment"].items())
        row = f"| {process['name']} | `{own}{process['command']}` | "
        assert row in OPERATIONS
        assert re.split(r" -(?![mA] )", process["command"])[0] in README


@pytest.mark.parametrize("name", ["up", "migrate", "demo", "seed", "replay", "states", "eventmap"])
def test_a_command_that_is_named_explains_itself(name, capsys):
    with pytest.raises(SystemExit, match=r"^0$"):
        execute_from_command_line(["manage.py", name, "--help"])

    assert "usage" in capsys.readouterr().out.lower()


def test_the_command_that_tests_explains_itself_and_starts_no_test():
    done = subprocess.run(
        [sys.executable, "manage.py", "test", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, "usage" in done.stdout.lower()) == (0, True), done.stderr


def test_the_checkout_in_the_document_is_the_one_in_the_code():
    [block] = [b for b in blocks(ENGINE_DOCUMENT) if b.startswith("CHECKOUT")]

    assert block in (ROOT / "orders" / "sagas" / "checkout.py").read_text()


def test_the_choreography_in_the_document_is_the_one_in_the_code():
    [block] = blocks((ROOT / "docs" / "choreography.md").read_text())
    defined = dict(vars(choreographies)) | {"REWARD": None}

    exec(block, defined)

    assert defined["REWARD"] == choreographies.REWARD
    assert block in (ROOT / "billing" / "choreographies.py").read_text()


def blocks(text):
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


@pytest.fixture
def readme(monkeypatch, committed_db):
    """The module that the README's first block makes, its saga registered."""
    module = ModuleType("orders.sagas.of_the_readme")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(registry, "SAGAS", dict(registry.SAGAS))
    monkeypatch.setattr(canvas, "publish", lambda *_, **__: True)
    definition, starting = blocks(README)
    exec(compile(definition, "README.md", "exec"), module.__dict__)
    registry.add(module.PICKUP)
    module.start_it = compile(starting, "README.md", "exec")
    return module


def test_the_saga_of_the_readme_confirms_an_order_and_undoes_one(readme):
    a_sku("MUG", stock=3)
    ends = [carry_out(readme, an_order(("MUG", quantity))) for quantity in (2, 2)]

    assert ends == [("completed", "confirmed", ""), ("compensated", "failed", "out_of_stock")]


def carry_out(readme, order):
    exec(readme.start_it, {**vars(readme), "order_id": order.id})
    saga = SagaInstance.objects.get(name="orders.pickup", key=str(order.id))
    end = run_link(saga.id, 1, 2, Direction.DO)
    if end is LinkEnd.REJECTED:
        run_link(saga.id, 0, 2, Direction.UNDO)
    saga.refresh_from_db()
    order = Order.objects.get(id=order.id)
    return saga.status, order.status, order.reason
