import pytest

from orders.models import ApiToken, Customer, Outbox
from orders.queries import customer_by_token, customer_by_user, customer_of
from orders.refusals import EmailTaken, UnknownCustomer
from orders.services import issue_token, register_customer, revoke_token
from sagas.ids import uuid7
from tests.factories import a_customer

pytestmark = pytest.mark.usefixtures("committed_db")


def test_a_new_customer_is_news():
    customer = register_customer(email=" Alice@example.com ", name="Alice", user_id=7)

    event = Outbox.objects.get()
    assert event.type == "orders.CustomerRegistered"
    assert event.payload == {
        "customer_id": str(customer.id),
        "customer_name": "Alice",
        "email": "Alice@example.com",
        "currency": "GBP",
    }
    assert customer_by_user(7) == customer_of(customer.id)
    assert customer_by_user(8) is None


def test_an_address_is_registered_once_however_it_is_written():
    register_customer(email="alice@example.com", name="Alice")

    with pytest.raises(EmailTaken):
        register_customer(email="ALICE@example.com", name="Mallory")

    assert Customer.objects.count() == Outbox.objects.count() == 1


def test_a_known_reference_is_the_customer_it_stands_for():
    first = register_customer(email="17850@example.com", name="17850", reference="17850")

    again = register_customer(email="other@example.com", name="Other", reference="17850")

    assert again.id == first.id
    assert Customer.objects.count() == 1


def test_a_token_acts_for_its_customer_and_only_its_digest_is_kept():
    customer = a_customer()

    token = issue_token(customer_id=customer.id, label="till")

    assert customer_by_token(token.text).id == customer.id
    assert customer_by_token(token.text + "x") is None
    (row,) = ApiToken.objects.values()
    assert token.text not in str(row)


def test_a_revoked_token_is_worth_nothing():
    customer = a_customer()
    token = issue_token(customer_id=customer.id, label="till")

    assert not revoke_token(customer_id=a_customer().id, token_id=token.id)
    assert revoke_token(customer_id=customer.id, token_id=token.id)
    assert not revoke_token(customer_id=customer.id, token_id=token.id)

    assert customer_by_token(token.text) is None


def test_nobody_gets_no_token():
    with pytest.raises(UnknownCustomer):
        issue_token(customer_id=uuid7(), label="till")
