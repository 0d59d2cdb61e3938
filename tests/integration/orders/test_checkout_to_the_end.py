"""The whole checkout in one process: real provider, real database, every step and every event."""

import psycopg
import pytest
from django.apps import apps

from billing.queries import invoice_for_order, trial_balance
from config.processes import simulator_environment
from orders.inventory.models import StockLevel
from orders.queries import notifications_of, order_of
from orders.services import cancel_order
from payments.api import payment_for_order
from payments.models import PaymentOperation
from sagas.api import compensate, resume, saga_status
from sagas.core.keys import Direction
from sagas.models import SagaInstance, StepRun
from sagas.orchestration import canvas, executor
from sagas.outbox.delivery import deliver
from tests.factories import a_customer, a_sku, an_order
from tests.integration.sagas.conftest import make_due
from tests.processes import test_database_url
from tests.workers.shop import misfortune

pytestmark = pytest.mark.usefixtures("committed_db", "session_provider")

CONTEXTS = ("orders", "billing", "payments")


def run(order, first=1):
    """Run the checkout forward, and back if it turns round, then deliver every event."""
    if executor.run_link(order.saga_id, first, 7, Direction.DO) is executor.LinkEnd.REJECTED:
        executor.run_link(order.saga_id, 0, 7, Direction.UNDO)
    tell()
    return order_of(order.customer_id, order.id)


def tell():
    for producer in CONTEXTS:
        outbox = apps.get_model(producer, "Outbox")
        ids = [str(one) for one in outbox.objects.order_by("position").values_list("id", flat=True)]
        for consumer in CONTEXTS:
            deliver(producer, consumer, ids)


def level():
    return StockLevel.objects.values_list("on_hand", "reserved").get()


def test_a_good_order_ends_with_goods_money_and_invoice_in_agreement():
    a_sku("MUG", stock=5, price="250")
    order = an_order(("MUG", 2))

    shown = run(order)

    assert (shown.status, shown.saga_status) == ("confirmed", "completed")
    assert level() == (3, 0)
    payment = payment_for_order(order.id)
    assert (payment.status, payment.captured, payment.open_hold) == ("captured", 500, 0)
    invoice = invoice_for_order(order.customer_id, order.id)
    assert (invoice.total, invoice.settled, invoice.status) == (500, 500, "settled")
    assert {one.code: one.balance for one in trial_balance() if one.balance} == {
        "1100": 500,
        "4000": -500,
    }
    (message,) = notifications_of(order.customer_id)
    assert invoice.number in message.body


def test_a_declined_card_leaves_nothing_but_a_failed_order():
    a_sku("MUG", stock=5)
    order = an_order(("MUG", 2), token="card_insufficient_funds")

    shown = run(order)

    assert (shown.status, shown.reason) == ("failed", "insufficient_funds")
    assert shown.saga_status == "compensated"
    assert level() == (5, 0)
    assert payment_for_order(order.id).open_hold == 0
    assert invoice_for_order(order.customer_id, order.id) is None
    assert trial_balance() == []
    (message,) = notifications_of(order.customer_id)
    assert message.template == "order_failed"


def test_an_order_of_what_is_not_there_never_asks_the_bank():
    a_sku("MUG", stock=1)
    order = an_order(("MUG", 2))

    shown = run(order)

    assert (shown.status, shown.reason) == ("failed", "out_of_stock")
    assert payment_for_order(order.id) is None
    assert level() == (1, 0)


def test_a_capture_that_is_refused_turns_the_checkout_round():
    a_sku("MUG", stock=5)
    order = an_order(("MUG", 2), token="card_capture_declined")

    shown = run(order)

    assert shown.status == "failed"
    assert level() == (5, 0)
    payment = payment_for_order(order.id)
    assert (payment.captured, payment.open_hold) == (0, 0)


def test_an_order_whose_hold_the_bank_let_go_is_undone_and_its_customer_told_why():
    a_sku("MUG", stock=5)
    order = an_order(("MUG", 2))
    executor.run_link(order.saga_id, 1, 3, Direction.DO)
    lose_the_hold(PaymentOperation.objects.filter(payment__purpose_id=order.id)[0].payment)

    shown = run(order, 4)

    assert (shown.status, shown.reason, shown.saga_status) == ("failed", "hold_gone", "compensated")
    why = "Your bank no longer held the money for this order. You were not charged."
    assert shown.progress.text == why
    [message] = notifications_of(order.customer_id)
    assert why in message.body
    assert level() == (5, 0)
    payment = payment_for_order(order.id)
    assert (payment.status, payment.captured, payment.open_hold) == ("voided", 0, 0)


def lose_the_hold(payment):
    """The bank lets the hold go, and the provider says so from then on."""
    told = simulator_environment(database_url=test_database_url(), site="", key="", secrets=())
    with psycopg.connect(told["SIMULATOR_DATABASE_URL"]) as book:
        lost = book.execute(
            "UPDATE simulator_intent SET status = 'prepared', amount_authorized = 0 WHERE ref = %s",
            [payment.provider_ref],
        )
    assert lost.rowcount == 1


def test_a_checkout_that_holds_no_money_stops_before_the_point_of_no_return():
    """However it has come there: what is stopped here can still be undone."""
    a_sku("MUG", stock=5)
    order = an_order(("MUG", 2))
    executor.run_link(order.saga_id, 1, 2, Direction.DO)
    SagaInstance.objects.filter(id=order.saga_id).update(cursor=4)
    make_due(order.saga_id)

    assert executor.run_link(order.saga_id, 4, 4, Direction.DO) is executor.LinkEnd.STOPPED

    saga = SagaInstance.objects.get(id=order.saga_id)
    assert (saga.cursor, saga.past_return) == (4, False)
    assert compensate(order.saga_id, by="alice", reason="nothing is held") is True
    executor.run_link(order.saga_id, 0, 7, Direction.UNDO)
    assert order_of(order.customer_id, order.id).saga_status == "compensated"
    assert level() == (5, 0)


def test_an_order_canceled_at_once_gives_everything_back():
    a_sku("MUG", stock=5)
    order = an_order(("MUG", 2), customer=a_customer())
    executor.run_link(order.saga_id, 1, 3, Direction.DO)
    assert level() == (5, 2)

    cancel_order(customer_id=order.customer_id, order_id=order.id, by="alice")
    executor.run_link(order.saga_id, 0, 7, Direction.UNDO)
    tell()

    shown = order_of(order.customer_id, order.id)
    assert (shown.status, shown.reason) == ("canceled", "canceled_by_customer")
    assert level() == (5, 0)
    assert payment_for_order(order.id).open_hold == 0
    assert saga_status(order.saga_id).status == "compensated"
    states = StepRun.objects.filter(saga_id=order.saga_id, direction="undo")
    assert states.count() == 8
    assert [one.template for one in notifications_of(order.customer_id)] == ["order_canceled"]


def test_a_resumed_saga_is_not_told_the_stored_no_again(settings, monkeypatch):
    """Refused for a reason that a person mends; the provider keeps every refusal under its key."""
    monkeypatch.setattr(canvas, "publish", lambda *_, **__: None)
    settings.SAGAS = {**settings.SAGAS, "MAX_ATTEMPTS": 2}
    a_sku("MUG", stock=5, price="250")
    order = an_order(("MUG", 2))
    misfortune("refuse", operation="capture", times=2)
    assert executor.run_link(order.saga_id, 1, 4, Direction.DO) is executor.LinkEnd.STOPPED
    for _ in range(2):
        make_due(order.saga_id)
        executor.run_link(order.saga_id, 4, 4, Direction.DO, swept=True)
    assert "ProviderRefusal" in SagaInstance.objects.get(id=order.saga_id).parked_reason

    assert resume(order.saga_id, by="alice", reason="the account is open again") is True
    executor.run_link(order.saga_id, 4, 7, Direction.DO)
    tell()

    shown = order_of(order.customer_id, order.id)
    assert (shown.status, shown.saga_status) == ("confirmed", "completed")
    assert payment_for_order(order.id).captured == 500
    operation = PaymentOperation.objects.get(payment__purpose_id=order.id, kind="capture")
    assert operation.idempotency_key == f"{order.saga_id}:capture_payment:do:{operation.negatives}"
    assert operation.negatives == 1
