"""The customer's order board: what the events of three contexts make of it, in any order."""

import itertools

import pytest

from billing.events import InvoiceIssued, InvoiceSettled
from orders import events
from orders.models import OrderBoard
from orders.projections import ACCESS, BOARD
from orders.queries import access_of, board_of
from payments.events import PaymentAuthorized, PaymentCaptured
from sagas.api import InvalidDefinition, Projection, clock, uuid7
from sagas.core import codec
from sagas.outbox.past import PastEvent
from sagas.outbox.subscriptions import Envelope
from sagas.projections.declaring import UnreadableEvent
from sagas.projections.rebuild import rebuild
from sagas.transactions import connection_of, transaction
from tests.factories import a_customer
from tests.integration.orders.board import close, ending, place, spread

pytestmark = pytest.mark.usefixtures("committed_db")


def told(event, number, *, stream, aggregate_id, version=1):
    """An event as the past keeps it."""
    return PastEvent(
        position=number,
        envelope=Envelope(
            event_id=uuid7(),
            name=event.name,
            version=version,
            aggregate_type=stream,
            aggregate_id=aggregate_id,
            sequence=number,
            occurred_at=clock.now(),
            correlation_id="click",
            causation_id=None,
            traceparent=None,
            recorded_at=clock.now(),
            actor=None,
            position=1,
        ),
        payload=codec.encode(event),
    )


def put(*events):
    for event in events:
        with transaction("orders"):
            BOARD.put("orders_orderboard", event)


def story_of(order):
    """What three contexts tell of an order that ends well, stream by stream."""
    money = {
        "payment_id": order.payment_id,
        "purpose": "order",
        "purpose_id": order.id,
        "customer_id": order.customer_id,
        "amount": 500,
        "currency": "GBP",
        "provider_ref": "pi_1",
    }
    bill = {
        "invoice_id": uuid7(),
        "number": "INV-1",
        "order_id": order.id,
        "customer_id": order.customer_id,
        "currency": "GBP",
        "total": 500,
    }
    payment = {"stream": "payments.payment", "aggregate_id": order.payment_id}
    invoice = {"stream": "billing.invoice", "aggregate_id": bill["invoice_id"]}
    orders = {"stream": "orders.order", "aggregate_id": order.id}
    return (
        [told(ending(order, "confirmed"), 2, **orders)],
        [
            told(PaymentAuthorized(**money), 1, **payment),
            told(PaymentCaptured(**money, captured_at=clock.now()), 2, **payment),
        ],
        [
            told(InvoiceIssued(**bill, business_date=order.business_date), 1, **invoice),
            told(InvoiceSettled(**bill), 2, **invoice),
        ],
    )


def row():
    return OrderBoard.objects.values(
        "status", "payment", "invoice_number", "is_settled", "seen", "number"
    ).get()


# -- what events put into it -----------------------------------------------------------------------


def test_every_order_of_three_streams_makes_the_same_row():
    order = place()
    spread()
    streams = story_of(order)
    seen = []
    for turns in set(itertools.permutations([0, 1, 1, 2, 2])):
        rest = [iter(stream) for stream in streams]
        OrderBoard.objects.update(payment="", invoice_number="", is_settled=False)
        OrderBoard.objects.update(status="pending", seen={f"orders.order:{order.id}": 1})
        put(*(next(rest[turn]) for turn in turns))
        seen.append(row())

    assert all(one == seen[0] for one in seen)
    assert (seen[0]["status"], seen[0]["payment"], seen[0]["is_settled"]) == (
        "confirmed",
        "captured",
        True,
    )


def test_an_event_put_twice_or_late_changes_nothing():
    order = place()
    spread()
    _, payment, _ = story_of(order)
    put(*payment)
    before = row()

    put(payment[0], payment[1], payment[0])
    assert row() == before


def test_money_that_comes_before_its_order_waits_in_a_row_that_nobody_is_shown():
    order = place()
    _, payment, _ = story_of(order)
    put(*payment)
    assert (row()["payment"], row()["number"]) == ("captured", "")
    [entry] = board_of(order.customer_id).entries
    assert (entry.number, entry.is_updating) == (order.number, True)

    spread()
    [entry] = board_of(order.customer_id).entries
    assert (entry.number, entry.payment, entry.is_updating) == (order.number, "captured", False)


def test_money_for_something_else_is_no_order():
    order = place()
    _, [first, _], _ = story_of(order)
    first.payload["purpose"] = "subscription"

    put(first)
    assert OrderBoard.objects.count() == 0


def test_a_version_that_nobody_reads_is_not_passed_by():
    order = place()
    event = told(
        ending(order, "confirmed"), 2, stream="orders.order", aggregate_id=order.id, version=9
    )
    with pytest.raises(UnreadableEvent), transaction("orders"):
        BOARD.put("orders_orderboard", event)


def test_a_projection_belongs_to_the_context_of_its_table():
    with pytest.raises(InvalidDefinition, match="one of orders"):
        Projection("billing.board", version=1, into=OrderBoard)
    with pytest.raises(InvalidDefinition, match="twice"):
        Projection("orders.board", version=1, into=OrderBoard)


# -- what the customer is shown --------------------------------------------------------------------


def test_the_list_is_read_from_the_board_when_it_has_come_so_far():
    order = place()
    close(order, "confirmed")
    spread()

    [entry] = board_of(order.customer_id).entries
    assert (entry.status, entry.is_updating, entry.invoice_number) == ("confirmed", False, "")
    assert entry.placed_at == order.placed_at


def test_with_the_projector_stopped_a_new_order_is_shown_as_its_context_has_it():
    order = place()

    [entry] = board_of(order.customer_id).entries
    assert (entry.number, entry.status, entry.total) == (order.number, "pending", 500)
    assert (entry.is_updating, entry.payment, entry.invoice_number) == (True, None, None)


def test_with_the_projector_stopped_an_order_that_has_ended_is_shown_as_ended():
    order = place()
    spread()
    close(order, "canceled")

    [entry] = board_of(order.customer_id).entries
    assert (entry.status, entry.is_updating) == ("canceled", True)
    spread()
    [entry] = board_of(order.customer_id).entries
    assert (entry.status, entry.is_updating) == ("canceled", False)


def test_an_order_is_updating_until_the_board_has_seen_what_is_awaited():
    order = place()
    spread()
    awaited = {order.id: 2}

    assert board_of(order.customer_id, awaited=awaited).entries[0].is_updating
    close(order, "canceled")
    spread()
    assert not board_of(order.customer_id, awaited=awaited).entries[0].is_updating


def test_nobody_is_shown_the_order_of_somebody_else():
    order = place()
    spread()
    stranger = a_customer()

    assert board_of(stranger.id, awaited={order.id: 9}).entries == ()


def test_the_list_asks_one_schema(django_assert_max_num_queries):
    customer = a_customer()
    for _ in range(3):
        place(customer)
    spread()

    with django_assert_max_num_queries(3, connection=connection_of("orders")) as asked:
        assert len(board_of(customer.id).entries) == 3
    text = " ".join(query["sql"] for query in asked.captured_queries)
    assert "orders_orderboard" in text
    assert not any(other in text for other in ("billing_", "payments_"))


# -- access ----------------------------------------------------------------------------------------


def test_a_customer_may_use_what_is_billed_once_their_account_is_open():
    customer = a_customer()
    assert access_of(customer.id) is None

    spread()  # billing hears of the customer and opens the account
    spread()  # and orders hears of that
    found = access_of(customer.id)
    assert (found.can_be_billed, found.currency) == (True, "GBP")
    assert found.account_number != ""


def test_access_is_built_anew_from_what_billing_has_told():
    customer = a_customer()
    spread()
    spread()
    live = access_of(customer.id)

    assert rebuild(ACCESS).rows == 1
    assert access_of(customer.id) == live


def test_the_board_hears_of_everything_that_happens_to_an_order():
    listened = {name for name in BOARD.names if name.startswith("orders.Order")}
    told_of = {
        value.name
        for value in vars(events).values()
        if getattr(value, "name", "").startswith("orders.Order")
    }

    assert listened == told_of
