import pytest
from django.db import IntegrityError
from django.db.models import Sum

from orders.commands import ConfirmOrder, ReleaseStock, ReserveStock
from orders.inventory import services as inventory
from orders.inventory.services import Wanted
from orders.models import StockLevel, StockMovement, StockReservation
from orders.refusals import BadQuantity, UnknownSku
from orders.services import receive_stock
from sagas.api import Rejected, connection_of, transaction
from sagas.ids import uuid7
from tests.factories import a_sku, an_order, carry_out

pytestmark = pytest.mark.usefixtures("committed_db")


def level(sku="MUG"):
    return StockLevel.objects.values_list("on_hand", "reserved").get(sku=sku)


def states(order):
    rows = StockReservation.objects.filter(order_id=order.id).order_by("position")
    return list(rows.values_list("position", "quantity", "state"))


def test_reserving_sets_goods_aside_line_by_line():
    a_sku("MUG", stock=10)
    a_sku("TEA", stock=10)
    order = an_order(("MUG", 2), ("TEA", 3), ("MUG", 4))

    carry_out(ReserveStock(order_id=order.id))

    assert level("MUG") == (10, 6)
    assert level("TEA") == (10, 3)
    assert states(order) == [(1, 2, "held"), (2, 3, "held"), (3, 4, "held")]


def test_an_order_that_is_short_of_one_item_leaves_nothing_behind():
    a_sku("MUG", stock=10)
    a_sku("TEA", stock=2)
    order = an_order(("MUG", 2), ("TEA", 3))

    with pytest.raises(Rejected, match="out_of_stock"):
        carry_out(ReserveStock(order_id=order.id))

    assert level("MUG") == (10, 0)
    assert level("TEA") == (2, 0)
    assert states(order) == []


def test_lines_of_one_item_are_short_together():
    a_sku("MUG", stock=5)
    order = an_order(("MUG", 3), ("MUG", 3))

    with pytest.raises(Rejected, match="out_of_stock"):
        carry_out(ReserveStock(order_id=order.id))

    assert level() == (5, 0)


def test_released_goods_can_be_sold_again():
    a_sku("MUG", stock=5)
    order = an_order(("MUG", 3), ("MUG", 2))
    carry_out(ReserveStock(order_id=order.id))

    carry_out(ReleaseStock(order_id=order.id))
    carry_out(ReleaseStock(order_id=order.id))

    assert level() == (5, 0)
    assert states(order) == [(1, 3, "released"), (2, 2, "released")]
    assert set(StockMovement.objects.values_list("kind", flat=True)) == {"receipt"}


def test_releasing_what_was_never_reserved_does_nothing():
    a_sku("MUG", stock=5)
    order = an_order(("MUG", 3))

    carry_out(ReleaseStock(order_id=order.id))

    assert level() == (5, 0)


def test_confirming_takes_the_goods_from_the_stock():
    a_sku("MUG", stock=5)
    order = an_order(("MUG", 3), ("MUG", 1))
    carry_out(ReserveStock(order_id=order.id))

    carry_out(ConfirmOrder(order_id=order.id))

    assert level() == (1, 0)
    assert states(order) == [(1, 3, "committed"), (2, 1, "committed")]
    assert list(StockMovement.objects.filter(kind="sale").values_list("delta", "ref")) == [
        (-4, str(order.id))
    ]


def test_what_is_on_hand_is_the_sum_of_the_movements():
    a_sku("MUG", stock=5)
    receive_stock(sku="MUG", quantity=7, ref="note 1")
    order = an_order(("MUG", 6))
    carry_out(ReserveStock(order_id=order.id))
    carry_out(ConfirmOrder(order_id=order.id))

    moved = StockMovement.objects.aggregate(sum=Sum("delta"))["sum"]

    assert level() == (moved, 0) == (6, 0)


def test_a_delivery_is_received_once():
    a_sku("MUG", stock=0)

    assert receive_stock(sku="MUG", quantity=7, ref="note 1")
    assert not receive_stock(sku="MUG", quantity=7, ref="note 1")

    assert level() == (7, 0)


def test_a_delivery_of_nothing_known_is_refused():
    a_sku("MUG", stock=0)

    with pytest.raises(UnknownSku):
        receive_stock(sku="NONE", quantity=1, ref="note 1")
    with pytest.raises(BadQuantity):
        receive_stock(sku="MUG", quantity=0, ref="note 1")


def test_a_thousand_items_are_reserved_in_as_few_statements_as_two(django_assert_num_queries):
    with transaction("orders"):
        inventory.open_levels({f"S{number}": 5 for number in range(1114)})
    wanted = [Wanted(position=number + 1, sku=f"S{number}", quantity=2) for number in range(1114)]
    order_id = uuid7()

    # Lock, take, insert.
    with transaction("orders"), django_assert_num_queries(3, connection=connection_of("orders")):
        inventory.reserve(order_id, wanted)

    assert StockLevel.objects.filter(reserved=2).count() == 1114
    with transaction("orders"):
        inventory.commit(order_id)
    assert StockLevel.objects.filter(on_hand=3, reserved=0).count() == 1114


@pytest.mark.parametrize("change", ["on_hand = -1", "reserved = -1", "reserved = on_hand + 1"])
def test_the_database_refuses_impossible_stock(change):
    a_sku("MUG", stock=5)

    with (
        pytest.raises(IntegrityError),
        transaction("orders"),
        connection_of("orders").cursor() as cursor,
    ):
        cursor.execute(f"UPDATE orders_stocklevel SET {change}")

    assert level() == (5, 0)


@pytest.mark.parametrize("table", ["orders_stockmovement", "orders_orderline"])
@pytest.mark.parametrize("verb", ["UPDATE {} SET id = id", "DELETE FROM {}"])
def test_what_was_agreed_or_moved_never_changes(table, verb):
    a_sku("MUG", stock=5)
    an_order(("MUG", 1))

    with (
        pytest.raises(IntegrityError, match="never changed"),
        connection_of("orders").cursor() as cursor,
    ):
        cursor.execute(verb.format(table))
