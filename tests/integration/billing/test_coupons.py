"""One coupon an order: granted, withdrawn, or withdrawn before it could be granted."""

import pytest

from billing.coupons.services import ConfirmedOrder, earns, grant, withdraw
from billing.models import Coupon, Outbox
from sagas.api import transaction, uuid7
from sagas.streams.verifying import verify
from tests.together import together

pytestmark = pytest.mark.usefixtures("committed_db")


def an_order(total=12_500):
    return ConfirmedOrder(order_id=uuid7(), customer_id=uuid7(), currency="GBP", total=total)


def done(act, order):
    with transaction("billing"):
        return act(order)


def told():
    return list(Outbox.objects.order_by("position").values_list("type", flat=True))


@pytest.mark.parametrize(("total", "earned"), [(9_999, False), (10_000, True)])
def test_an_order_of_a_hundred_earns_a_coupon(total, earned):
    assert earns(an_order(total)) is earned


def test_a_coupon_is_worth_five_per_cent_and_granted_once():
    order = an_order()

    assert [done(grant, order), done(grant, order)] == [True, False]

    assert Coupon.objects.values_list("amount", "state").get() == (625, "granted")
    assert told() == ["billing.CouponGranted"]


def test_a_coupon_is_withdrawn_once_and_that_is_told():
    order = an_order()
    done(grant, order)

    done(withdraw, order)
    done(withdraw, order)

    assert Coupon.objects.get().state == "withdrawn"
    assert told() == ["billing.CouponGranted", "billing.CouponWithdrawn"]
    assert done(grant, order) is False


def test_a_coupon_that_was_withdrawn_first_is_never_granted_and_nobody_hears_of_it():
    order = an_order()
    done(withdraw, order)

    assert done(grant, order) is False
    assert Coupon.objects.get().granted_at is None
    assert told() == []


def test_granted_and_withdrawn_at_the_same_moment_it_ends_withdrawn():
    for _ in range(5):
        order = an_order()

        together(lambda o=order: done(grant, o), lambda o=order: done(withdraw, o))

        assert Coupon.objects.get(order_id=order.order_id).state == "withdrawn"


def test_what_was_told_of_coupons_comes_to_their_rows():
    granted, taken_back, never = an_order(), an_order(), an_order()
    done(grant, granted)
    done(grant, taken_back)
    done(withdraw, taken_back)
    done(withdraw, never)

    found = verify(["billing"])
    assert (found.differences, Coupon.objects.count()) == ([], 3)
