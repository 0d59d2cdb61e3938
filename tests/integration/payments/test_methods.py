import pytest

from payments import api
from payments.cards import DESCRIPTIONS
from payments.simulator.cards import CARDS
from sagas.api import OutsideTransaction, transaction, uuid7

pytestmark = pytest.mark.django_db


def test_a_customer_has_the_methods_they_registered():
    customer = uuid7()
    good = api.register_method(customer, "card_good")
    declined = api.register_method(customer, "card_declined")
    api.register_method(uuid7(), "card_good")

    assert api.methods_of(customer) == (good, declined)
    assert (good.kind, good.last4, good.active) == ("good", "4242", True)


def test_a_method_registered_twice_is_one_method():
    customer = uuid7()
    first = api.register_method(customer, "card_good")
    api.forget_method(customer, first.id)

    assert api.methods_of(customer) == ()
    assert api.register_method(customer, "card_good") == first
    assert api.methods_of(customer) == (first,)


def test_a_method_can_be_registered_in_a_transaction_that_is_open():
    customer = uuid7()
    with transaction("payments"):
        method = api.add_method(customer, "card_good")
        kept = api.methods_of(customer)
        api.drop_method(customer, method.id)

    assert kept == (method,)
    assert api.methods_of(customer) == ()
    with pytest.raises(OutsideTransaction):
        api.add_method(customer, "card_good")


def test_the_method_of_another_customer_is_not_found():
    mine, yours = uuid7(), uuid7()
    method = api.register_method(mine, "card_good")

    assert api.method_of(mine, method.id) == method
    assert api.method_of(yours, method.id) is None
    assert api.forget_method(yours, method.id) is False
    assert api.method_of(mine, uuid7()) is None


def test_a_token_that_the_provider_does_not_know_is_refused():
    with pytest.raises(api.UnknownToken):
        api.register_method(uuid7(), "card_of_nobody")


def test_every_card_of_the_provider_is_described():
    assert set(DESCRIPTIONS) == set(CARDS)
