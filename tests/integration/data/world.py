"""A shop in which orders of every kind have ended: what the invariants are evaluated on."""

from contextlib import ExitStack, contextmanager

from django.apps import apps
from django.db import connection, connections

from config.audit import uniting
from orders.services import cancel_order
from sagas.core.keys import Direction
from sagas.orchestration import executor, orchestrator
from sagas.outbox import history
from sagas.outbox.delivery import deliver
from tests.databases import by_itself, database_of
from tests.factories import a_customer, a_sku, an_order

CONTEXTS = ("orders", "billing", "payments")


def make():
    """Two good orders, one of each bad kind, one under way; every event delivered."""
    a_sku("MUG", stock=100, price="250.5")
    a_sku("BOWL", stock=100, price="1120")
    buyer = a_customer()
    orders = {
        "good": an_order(("MUG", 3), ("BOWL", 1), ("MUG", 2), customer=buyer),
        "again": an_order(("BOWL", 1), customer=buyer),
        "declined": an_order(("MUG", 1), token="card_declined"),
        "refused": an_order(("MUG", 1), token="card_capture_declined"),
        "too many": an_order(("MUG", 5000)),
    }
    for order in orders.values():
        run(order)
    orders["canceled"] = canceled = an_order(("MUG", 1))
    executor.run_link(canceled.saga_id, 1, 3, Direction.DO)
    cancel_order(customer_id=canceled.customer_id, order_id=canceled.id, by="alice")
    executor.run_link(canceled.saga_id, 0, 7, Direction.UNDO)
    orchestrator.park(canceled.saga_id, by="olga", reason="to see whether it ends")
    tell()
    settle()
    return orders


def an_order_under_way():
    """Its goods are set aside and its payment is prepared."""
    a_sku("MUG", stock=100, price="250.5")
    order = an_order(("MUG", 4))
    executor.run_link(order.saga_id, 1, 2, Direction.DO)
    tell()
    settle()
    return order


def run(order):
    if executor.run_link(order.saga_id, 1, 7, Direction.DO) is executor.LinkEnd.REJECTED:
        executor.run_link(order.saga_id, 0, 7, Direction.UNDO)


def tell():
    for producer in CONTEXTS:
        outbox = apps.get_model(producer, "Outbox")
        ids = [str(one) for one in outbox.objects.order_by("position").values_list("id", flat=True)]
        for consumer in CONTEXTS:
            deliver(producer, consumer, ids)


def settle():
    """Mark and keep every event as the relay and the comparison would."""
    for context in CONTEXTS:
        run_sql(
            f"UPDATE {context}_outbox SET published_at = clock_timestamp(),"
            " settled_at = clock_timestamp() WHERE settled_at IS NULL"
        )
        history.keep_missed(context)


def run_sql(statement, parameters=None):
    statement = by_itself(statement)
    with database_of(statement).cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []


def everywhere(statement):
    """Run a statement in every database."""
    for alias in connections:
        with connections[alias].cursor() as cursor:
            cursor.execute(statement)


@contextmanager
def rolled_back():
    """A transaction in every database that leaves nothing."""
    with ExitStack() as stack:
        for alias in connections:
            connections[alias].ensure_connection()
            stack.enter_context(connections[alias].connection.transaction(force_rollback=True))
        yield


@contextmanager
def views():
    """The views of all databases, also of what is not committed."""
    if uniting.is_needed():
        with uniting.united() as cursor:
            yield cursor
    else:
        with connection.cursor() as cursor:
            yield cursor
