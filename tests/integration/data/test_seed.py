import json
from io import StringIO

import pytest
from django.contrib.auth import authenticate, get_user_model
from django.core.management import CommandError, call_command

from config import seeding
from orders.models import Customer, Order
from orders.queries import customer_by_token, sku_of
from payments.api import methods_of
from tests.databases import rows

pytestmark = pytest.mark.usefixtures("committed_db")


def seed(**options):
    out = StringIO()
    call_command("seed", json=True, stdout=out, **options)
    return json.loads(out.getvalue())


def asked(statement):
    return rows(statement)


def test_a_customer_can_sign_in_and_has_a_token_and_a_card_of_every_kind():
    (customer,) = seed(customers=1)["customers"]

    user = authenticate(username=customer["username"], password=customer["password"])
    assert user is not None
    owner = Customer.objects.get(user_id=user.pk)
    assert (str(owner.id), owner.name) == (customer["id"], "Demo Customer 0001")
    assert owner.email == "demo0001@example.test"
    assert customer_by_token(customer["token"]).id == owner.id
    methods = {method.kind: str(method.id) for method in methods_of(owner.id)}
    assert methods == customer["payment_methods"]
    assert set(methods) == set(seeding.CARDS)


def test_an_item_can_be_bought_and_its_stock_is_a_movement():
    (item,) = seed(skus=1)["skus"]

    sku = sku_of(item["sku"])
    assert (sku.code, sku.name) == ("DEMO-0001", "Demo Enamel Mug, blue")
    assert (sku.unit_price, sku.available) == (item["price"], item["stock"])
    assert asked("SELECT sku, kind, delta FROM audit.v_stock_movements") == [
        ("DEMO-0001", "receipt", item["stock"])
    ]


def test_a_second_seed_adds_the_next_numbers_and_changes_nothing():
    first = seed(customers=2, skus=3)

    second = seed(customers=1, skus=2)

    assert [one["username"] for one in first["customers"]] == ["demo0001", "demo0002"]
    assert [one["username"] for one in second["customers"]] == ["demo0003"]
    assert [one["sku"] for one in second["skus"]] == ["DEMO-0004", "DEMO-0005"]
    assert customer_by_token(first["customers"][0]["token"]) is not None


def test_the_numbers_go_on_after_four_digits(monkeypatch):
    monkeypatch.setattr(seeding, "LAST_SKU", "SELECT 9998::bigint")

    assert [one["sku"] for one in seed(skus=3)["skus"]] == ["DEMO-9999", "DEMO-10000", "DEMO-10001"]
    monkeypatch.undo()
    assert [one["sku"] for one in seed(skus=1)["skus"]] == ["DEMO-10002"]


def test_operators_are_made_once_and_shown_again():
    first = seed(operators=True)["operators"]

    again = seed(operators=True)["operators"]

    assert again == first
    assert set(first) == {"viewer", "operator", "administrator"}
    for role, operator in first.items():
        user = authenticate(**operator)
        assert user.is_staff
        assert [group.name for group in user.groups.all()] == [role]


def test_a_password_that_an_operator_has_changed_is_neither_reset_nor_shown():
    seed(operators=True)
    user = get_user_model().objects.get(username="demo-operator")
    user.set_password("their own")
    user.save()

    shown = seed(operators=True)["operators"]["operator"]

    assert shown == {"username": "demo-operator", "password": None}
    assert authenticate(username="demo-operator", password="their own") is not None


def test_where_there_is_demo_data_if_empty_adds_none():
    assert len(seed(customers=1, skus=1, if_empty=True)["customers"]) == 1

    again = seed(customers=1, skus=1, operators=True, if_empty=True)

    assert (again["customers"], again["skus"]) == ([], [])
    assert set(again["operators"]) == {"viewer", "operator", "administrator"}


def test_a_seed_that_was_killed_after_the_sign_in_is_taken_up():
    get_user_model().objects.create_user("demo0001", "demo0001@example.test", "unknown")

    (customer,) = seed(customers=1)["customers"]

    assert customer["username"] == "demo0001"
    assert Customer.objects.count() == 1


def test_two_seeds_at_once_do_not_mix():
    with seeding._alone():
        from django.db import connections

        other = connections["default"].copy()
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [seeding.LOCK])
            assert cursor.fetchall() == [(False,)]
        other.close()


@pytest.mark.parametrize("options", [{}, {"customers": -1}, {"skus": -1}])
def test_nothing_to_add_is_wrong_use(options):
    with pytest.raises(CommandError) as refused:
        call_command("seed", **options)

    assert refused.value.returncode == 2


def test_the_text_says_how_to_sign_in(capsys):
    call_command("seed", customers=1, skus=1, operators=True)

    out = capsys.readouterr().out
    assert "demo0001" in out
    assert "DEMO-0001  10000 in stock  8.95" in out
    assert "demo-administrator" in out
    assert not Order.objects.exists()
