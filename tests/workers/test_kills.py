"""kill -9 at every place of the checkout, forward and back; a frozen worker that thaws."""

import os
import signal

import pytest

from orders.models import Order
from orders.services import cancel_order
from sagas import failpoints
from sagas.core.definition import Kind, command_type
from sagas.core.keys import Direction
from sagas.orchestration import registry
from sagas.orchestration.handlers import handler_of
from sagas.transactions import is_detached
from tests.processes import ROOT, eventually
from tests.workers.shop import (
    count_the_money,
    misfortune,
    one,
    open_shop,
    provider_intents,
    wait_for_rest,
)

ENGINE = [
    "claim.before",
    "batch.claimed",
    "batch.given_back",
    "batch.ended",
    "claim.committed",
    "link.ended",
    "donekeys.before",
    "chain.published",
    "sweep.claimed",
    "sweep.published",
]
EVENTS = [
    *(
        f"{place}/{context}"
        for place in ("relay.selected", "relay.published", "relay.committed")
        for context in ("orders", "payments", "billing")
    ),
    *(
        f"{place}/{context}"
        for place in ("deliver.before_commit", "deliver.committed")
        for context in ("billing",)
    ),
]


def is_remote(build):
    return handler_of(command_type(build)).is_remote


def forward_places():
    """Every commit and call of the checkout on the way forward."""
    for step in registry.get("orders.checkout", 1).steps:
        if step.do is None:
            continue
        if is_remote(step.do):
            yield f"intent.before_commit/{step.name}"
            yield f"intent.committed/{step.name}"
            yield f"call.returned/{step.name}"
        yield f"step.before_commit/{step.name}"
        yield f"step.committed/{step.name}"


def refused_places():
    """The commit that counts a definite no, of every call on the way forward."""
    for step in registry.get("orders.checkout", 1).steps:
        if step.do is not None and is_remote(step.do):
            yield f"negative.before_commit/{step.name}"
            yield f"negative.committed/{step.name}"


def backward_places():
    """The same on the way back, and the turn itself."""
    yield "close.before/capture_payment"
    yield "close.returned/capture_payment"
    yield "reject.before_commit/capture_payment"
    yield "reject.committed/capture_payment"
    for step in registry.get("orders.checkout", 1).steps:
        if step.undo is not None and is_remote(step.undo):
            yield f"intent.before_commit/undo.{step.name}"
            yield f"intent.committed/undo.{step.name}"
            yield f"call.returned/undo.{step.name}"
        yield f"step.before_commit/undo.{step.name}"
        yield f"step.committed/undo.{step.name}"


class Killer:
    """Arms places one after the other; each kills one process once."""

    def __init__(self, directory):
        self.file = directory / "failpoints"
        self.arm([])

    @property
    def env(self):
        return {"CONCORD_FAILPOINTS_FILE": str(self.file)}

    def arm(self, places, action="kill"):
        fresh = self.file.with_suffix(".new")
        fresh.write_text("\n".join(f"{place}={action}" for place in places))
        fresh.replace(self.file)

    def hit(self, place):
        return failpoints.mark(str(self.file), place).exists()

    def missing(self, places):
        return [place for place in places if not self.hit(place)]


@pytest.fixture
def killer(tmp_path):
    return Killer(tmp_path)


@pytest.fixture
def running(processes, killer):
    processes.provider()
    processes.beat()
    # Small batches, so that they are full when eight orders come at once.
    processes.worker(env={**killer.env, "SAGAS_CLAIM_BATCH": "3"})
    return processes


def between_two_commits(*, back=False):
    """Where a step whose context is detached has committed one half; none in the normal suite."""
    saga = registry.get("orders.checkout", 1)
    for context, step in zip(saga.contexts, saga.steps, strict=True):
        if is_detached(context) and (back or step.do is not None):
            place = f"undo.{step.name}" if back else step.name
            yield f"effect.before_commit/{place}"
            yield f"effect.committed/{place}"


def kill_everywhere(shop, killer, places, card, most=12):
    """Buy until every armed place has killed a worker, then wait for rest."""
    killer.arm(places)
    for _ in range(most):
        for _order in range(8):
            shop.buy(card)
        eventually(
            lambda: not killer.missing(places) or one(UNFINISHED) == 0,
            60,
            "sagas end or every place is hit",
        )
        if not killer.missing(places):
            break
    killed = len(places) - len(killer.missing(places))
    assert killer.missing(places) == [], f"{killed} of {len(places)} places were hit"
    wait_for_rest(90)


UNFINISHED = "SELECT count(*) FROM sagas_saga WHERE finished_at IS NULL"


@pytest.mark.timeout(240)
def test_a_worker_killed_at_every_place_on_the_way_forward_loses_and_doubles_nothing(
    running, killer
):
    shop = open_shop()
    places = [*forward_places(), *refused_places(), *between_two_commits(), *ENGINE, *EVENTS]
    for operation in ("prepare", "confirm", "capture"):
        misfortune("refuse", operation=operation, times=2)

    kill_everywhere(shop, killer, places, "card_good")

    assert one("SELECT count(*) FROM orders_order WHERE status <> 'confirmed'") == 0
    count_the_money()


@pytest.mark.timeout(240)
def test_a_worker_killed_at_every_place_on_the_way_back_leaves_nothing_half_undone(running, killer):
    shop = open_shop()
    places = [*backward_places(), *between_two_commits(back=True)]

    kill_everywhere(shop, killer, places, "card_capture_declined")

    assert one("SELECT count(*) FROM orders_order WHERE status <> 'failed'") == 0
    count_the_money()


@pytest.mark.timeout(120)
def test_a_worker_killed_in_the_error_callback_leaves_the_way_back_to_the_sweeper(
    processes, killer
):
    """A slice that is always spent leaves every rejection to the callback."""
    processes.provider()
    processes.beat()
    processes.worker(env={**killer.env, "SAGAS_TIME_SLICE": "0.0001"})
    shop = open_shop()

    kill_everywhere(shop, killer, ["continue.before"], "card_capture_declined")

    assert one("SELECT count(*) FROM orders_order WHERE status <> 'failed'") == 0
    count_the_money()


def test_every_place_of_the_list_is_armed_by_these_tests_or_named_elsewhere():
    armed = {place.partition("/")[0] for place in (*forward_places(), *backward_places())}
    armed |= {place.partition("/")[0] for place in (*refused_places(), *ENGINE, *EVENTS)}
    armed.add("continue.before")
    elsewhere = {
        "start.committed": "tests/acceptance/test_buying_over_http.py",
        "fault.committed": "tests/workers/test_broker.py",
        **dict.fromkeys(
            [
                "cancel.before_commit",
                "cancel.committed",
                "deadline.committed",
                "act.before_commit",
                "act.committed",
                "letter.before_commit",
                "letter.committed",
                "republish.delivered",
            ],
            "tests/integration/sagas/test_crash_points.py",
        ),
        **dict.fromkeys(
            ["wait.before_commit", "wait.committed", "signal.before_commit", "signal.committed"],
            "tests/integration/sagas/test_wait_crashes.py",
        ),
        "branch.taken": "tests/integration/sagas/test_groups.py",
        **dict.fromkeys(
            ["together.before_commit", "together.committed"],
            "tests/integration/sagas/test_together.py",
        ),
        "child.committed": "tests/integration/sagas/test_children.py",
        **dict.fromkeys(
            ["lock.before_commit", "lock.committed", "lock.handed_on"],
            "tests/integration/sagas/test_lock_crashes.py",
        ),
        "history.kept": "tests/integration/sagas/test_history.py",
        "unreadable.found": "tests/workers/test_rubbish.py",
        "unreadable.kept": "tests/workers/test_rubbish.py",
        "limit.committed": "tests/integration/sagas/test_time_limits.py",
        "heartbeat.committed": "tests/integration/sagas/test_heartbeats.py",
        "breaker.probing": "tests/integration/sagas/test_breaker.py",
        **dict.fromkeys(
            [
                "tail.published_tables",
                "tail.slot_dropped",
                "tail.read",
                "tail.handed_over",
                "tail.advanced",
            ],
            "tests/integration/sagas/test_tailing.py",
        ),
        **dict.fromkeys(
            ["outside.selected", "outside.published", "outside.committed"],
            "tests/workers/test_outside.py",
        ),
        **dict.fromkeys(
            ["stream.selected", "stream.published", "stream.committed"],
            "tests/workers/test_stream.py",
        ),
        **dict.fromkeys(
            ["consumer.begun", "catchup.delivered", "catchup.noted"],
            "tests/integration/sagas/test_new_consumers.py",
        ),
        **dict.fromkeys(
            [
                "rebuild.before_commit",
                "rebuild.begun",
                "rebuild.page.before_commit",
                "rebuild.page.committed",
                "rebuild.change.before_commit",
                "rebuild.changed",
                "lag.noted",
            ],
            "tests/integration/orders/test_rebuild.py",
        ),
        **dict.fromkeys(
            ["watch.claimed", "watch.before_commit", "watch.committed", "watch.undone"],
            "tests/integration/sagas/test_choreography.py",
        ),
        "effect.before_commit": "tests/concurrency/sagas/test_detached.py",
        "effect.committed": "tests/concurrency/sagas/test_detached.py",
        "request.posted": "tests/concurrency/sagas/test_detached.py",
        "republish.found": "tests/workers/test_broker.py",
        "request.before_commit": "tests/acceptance/test_buying_over_http.py",
        "request.committed": "tests/acceptance/test_buying_over_http.py",
    }

    assert armed | set(elsewhere) == set(failpoints.PLACES)
    for place, file in elsewhere.items():
        assert place in (ROOT / file).read_text(), f"{file} does not arm {place}"
    # Each step is covered: a saga that grows a step grows these tests with it.
    steps = registry.get("orders.checkout", 1).steps
    kinds = [step.kind for step in steps]
    assert kinds.count(Kind.PIVOT) == 1
    assert Direction.UNDO == "undo"


@pytest.mark.parametrize(
    ("place", "held"),
    [
        ("intent.committed/prepare_payment", 0),
        ("intent.committed/authorize_payment", 0),
        ("call.returned/authorize_payment", 0),
    ],
)
def test_a_worker_that_freezes_and_thaws_after_the_cancel_leaves_no_hold(
    running, killer, place, held
):
    shop = open_shop()
    killer.arm([place], "stop")
    order = shop.buy()
    eventually(lambda: killer.hit(place), 30, "a worker froze")

    answer = cancel_order(customer_id=shop.customer_id, order_id=order.id, by="customer")
    assert answer.name in {"ACCEPTED", "ASKED"}
    wait_for_rest()
    assert Order.objects.get(id=order.id).status == "canceled"
    thaw_all(running)

    other = shop.buy()
    eventually(lambda: Order.objects.get(id=other.id).status == "confirmed", 30, "it works on")
    wait_for_rest()
    count_the_money()
    frozen = provider_intents().get(str(order.payment_id), [])
    assert sum(i["amount_authorized"] for i in frozen if i["status"] == "authorized") == held


def test_a_worker_that_freezes_before_the_capture_and_thaws_late_captures_once(running, killer):
    shop = open_shop()
    place = "intent.committed/capture_payment"
    killer.arm([place], "stop")
    order = shop.buy()
    eventually(lambda: killer.hit(place), 30, "a worker froze")
    answer = cancel_order(customer_id=shop.customer_id, order_id=order.id, by="customer")
    assert answer.name == "TOO_LATE"
    eventually(lambda: Order.objects.get(id=order.id).status == "confirmed", 30, "taken over")

    thaw_all(running)
    wait_for_rest()
    count_the_money()


def thaw_all(running):
    for process in running.started:
        if process.alive:
            os.killpg(process.pid, signal.SIGCONT)
