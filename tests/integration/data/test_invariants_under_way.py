import pytest

from config.invariants import INVARIANTS, evaluate
from tests.integration.data import world

pytestmark = pytest.mark.usefixtures("committed_db", "session_provider")


def found(**options):
    with world.views() as cursor:
        results = evaluate(cursor, INVARIANTS, **options)
    return {result.id: result.worst for result in results if result.violations}


def test_what_is_under_way_is_no_violation_until_it_should_rest():
    order = world.an_order_under_way()

    assert found() == {}
    resting = found(at_rest=True)
    assert set(resting) == {"I5"}
    assert str(order.saga_id) in resting["I5"]

    world.run(order)
    world.tell()
    world.settle()
    assert found(at_rest=True, age=0) == {}


def test_money_on_its_way_to_the_books_is_no_violation_until_it_has_had_its_time():
    order = world.an_order_under_way()
    world.run(order)

    assert found() == {}
    assert set(found(at_rest=True)) == {"I9", "I21"}
    world.run_sql("UPDATE payments_payment SET captured_at = captured_at - interval '1 hour'")
    assert set(found()) == {"I9"}

    world.tell()
    world.settle()
    assert found(at_rest=True, age=0) == {}
