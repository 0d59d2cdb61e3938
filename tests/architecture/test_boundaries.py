import ast
import sys

import pytest

from tests.architecture.source import CONTEXTS, PACKAGES, Module, imports, modules

SIMULATOR = "payments.simulator"
# What of the engine a context may name: the front door, the bases of its tables, the ids that
# its migrations name as defaults, and what its edges need: keyed requests and the admin's look.
DOORS = (
    "sagas.api",
    "sagas.models",
    "sagas.ids",
    "sagas.admin",
    "sagas.correlation",
    "sagas.idempotency",
)
# What config/urls.py mounts: it is where the edges of the contexts are put together.
MOUNTED = ("urls", "web", "json_api")
FOLDERS_ON_THEIR_OWN = ("orders.inventory",)


def inside(name, package):
    return name == package or name.startswith(f"{package}.")


def core_refusal(importer, target):
    leaves = inside(importer, "sagas.core") and not inside(target, "sagas.core")
    if leaves and target.partition(".")[0] not in sys.stdlib_module_names:
        return "the core is pure Python"
    return None


def simulator_refusal(importer, target):
    ends = (inside(importer, SIMULATOR), inside(target, SIMULATOR))
    if any(ends) and not all(ends) and target.partition(".")[0] in PACKAGES:
        return "the provider is another company"
    return None


def folder_refusal(importer, target):
    for folder in FOLDERS_ON_THEIR_OWN:
        home = folder.partition(".")[0]
        if inside(importer, folder) and inside(target, home) and not inside(target, folder):
            return f"{folder} stands on its own"
    return None


def arrow_refusal(importer, target):
    home, other = importer.partition(".")[0], target.partition(".")[0]
    if other in PACKAGES and PACKAGES.index(other) < PACKAGES.index(home):
        return "an import points to the right"
    return None


def door_refusal(importer, target):
    home, other = importer.partition(".")[0], target.partition(".")[0]
    if home == other:
        return None
    if importer == "config.urls" and any(inside(target, f"{other}.{edge}") for edge in MOUNTED):
        return None
    if other in CONTEXTS and not inside(target, f"{other}.api"):
        return "another context only through its api"
    if other == "sagas" and home in CONTEXTS and not any(inside(target, door) for door in DOORS):
        return "the engine only through its front doors"
    return None


RULES = (core_refusal, simulator_refusal, folder_refusal, arrow_refusal, door_refusal)


def refusal(importer, target):
    """Why this module may not import that name, or None."""
    return next(filter(None, (rule(importer, target) for rule in RULES)), None)


def offences(name, tree):
    """Every import of the module that the rules refuse, as (line, target, why)."""
    found = ((line, target, refusal(name, target)) for line, target in imports(tree))
    return [offence for offence in found if offence[2]]


@pytest.mark.parametrize("module", modules(), ids=str)
def test_every_import_points_to_the_right_and_through_a_door(module):
    assert offences(module.name, module.tree) == []


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("billing.services", "from payments.models import Payment"),
        ("orders.services", "from billing import commands"),
        ("payments.steps", "from orders.api import PlaceOrder"),
        ("billing.steps", "import payments.models"),
        ("sagas.core.keys", "from django.conf import settings"),
        ("sagas.core.keys", "from sagas.conf import conf"),
        ("sagas.tasks", "from orders.api import place"),
        ("orders.services", "def f():\n    from payments.models import Payment"),
        ("orders.x", "if TYPE_CHECKING:\n    from payments.gateway import Gateway"),
        ("orders.services", "from config.env import env_bool"),
        ("orders.services", "from sagas.orchestration.store import save"),
        ("orders.inventory.services", "from orders.models import Order"),
        ("payments.simulator.views", "from sagas.api import uuid7"),
        ("payments.simulator.views", "from payments.gateway import Gateway"),
        ("payments.gateways.http", "from payments.simulator import cards"),
        ("config.management.commands.up", "from payments import simulator"),
        ("config.management.commands.up", "from orders.web import cart"),
        ("config.urls", "from orders.services import place_order"),
    ],
)
def test_a_planted_offence_is_caught(name, source):
    assert len(offences(name, ast.parse(source))) == 1


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("orders.sagas.checkout", "from payments import api as payments"),
        ("orders.sagas.checkout", "from payments.api import CapturePayment"),
        ("billing.steps", "from sagas.api import handles"),
        ("payments.gateways.http", "from payments.gateway import Gateway"),
        ("payments.simulator.views", "from payments.simulator.book import find"),
        ("sagas.core.keys", "from uuid import UUID"),
        ("config.health", "from sagas.models import SagaInstance"),
        ("config.urls", "from billing import urls"),
    ],
)
def test_what_is_allowed_is_let_through(name, source):
    assert offences(name, ast.parse(source)) == []


def lookups_of_models(module: Module):
    """The app labels that `get_model` is called with as a literal."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "get_model":
            for argument in node.args[:1]:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield argument.value.partition(".")[0]


@pytest.mark.parametrize("module", modules(), ids=str)
def test_no_model_of_another_context_is_looked_up_by_name(module):
    foreign = set(PACKAGES) - {module.package}
    if module.package == "config":
        foreign = set()

    assert set(lookups_of_models(module)) & foreign == set()


@pytest.mark.parametrize("module", [m for m in modules() if m.is_migration], ids=str)
def test_no_migration_depends_on_another_context(module):
    names = {
        element.value
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Tuple)
        for element in node.elts[:1]
        if isinstance(element, ast.Constant)
    }

    assert names & (set(PACKAGES) - {module.package}) == set()
