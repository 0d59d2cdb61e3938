import pytest

from orders.inventory.states import RESERVATION_TRANSITIONS, ReservationState
from orders.states import ORDER_TRANSITIONS, OrderStatus, sources_of


def test_every_status_says_where_it_leads():
    assert set(ORDER_TRANSITIONS) == set(OrderStatus)
    assert set(RESERVATION_TRANSITIONS) == set(ReservationState)


@pytest.mark.parametrize("end", [OrderStatus.CONFIRMED, OrderStatus.FAILED, OrderStatus.CANCELED])
def test_an_ended_order_never_moves_again(end):
    assert ORDER_TRANSITIONS[end] == frozenset()
    assert sources_of(end) == (OrderStatus.PENDING,)


def test_no_order_becomes_pending():
    assert sources_of(OrderStatus.PENDING) == ()
