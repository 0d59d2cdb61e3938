"""Administrators edit the catalogue, with a reason and an audit row; nobody else does."""

import pytest
from django.urls import reverse

from orders.models import Product, Sku
from sagas.models import OperatorAction
from tests.factories import a_sku
from tests.integration.admin.world import audit, signed_in


@pytest.fixture
def sku():
    a_sku("MUG", price="250")
    return Sku.objects.get(code="MUG")


def page(sku):
    return reverse("admin:orders_sku_change", args=[sku.pk])


def edit(role, sku, **fields):
    client = signed_in(role)
    return client.post(page(sku), {"unit_price": "300", "active": "on", **fields})


def test_an_administrator_changes_a_price_and_the_audit_says_why(sku):
    response = edit("administrator", sku, reason="new supplier")

    assert response.status_code == 302
    sku.refresh_from_db()
    assert (sku.unit_price, sku.active) == (300, True)
    [act] = OperatorAction.objects.all()
    assert (act.action, act.target_type, act.target_id) == ("edit", "SKU", str(sku.pk))
    assert act.reason == "new supplier (unit_price from 250.0000 to 300)"


@pytest.mark.parametrize("role", ["viewer", "operator", "staff", "customer"])
def test_others_change_nothing(role, sku):
    response = edit(role, sku, reason="because")

    assert response.status_code in {302, 403}
    sku.refresh_from_db()
    assert (sku.unit_price, audit()) == (250, [])


@pytest.mark.parametrize("fields", [{}, {"reason": " "}, {"reason": "x", "unit_price": "-1"}])
def test_without_a_reason_or_with_an_impossible_price_nothing_changes(fields, sku):
    response = edit("administrator", sku, **fields)

    assert response.status_code == 200
    sku.refresh_from_db()
    assert (sku.unit_price, audit()) == (250, [])


def test_what_is_not_editable_stays_whatever_is_posted(sku):
    edit("administrator", sku, reason="x", code="HACK", currency="USD")

    sku.refresh_from_db()
    assert (sku.code, sku.currency) == ("MUG", "GBP")


def test_a_product_is_renamed_and_taken_off_the_shelf():
    a_sku("MUG")
    product = Product.objects.get()
    client = signed_in("administrator")

    client.post(
        reverse("admin:orders_product_change", args=[product.pk]),
        {"name": "The big mug", "description": "", "reason": "renamed"},
    )

    product.refresh_from_db()
    assert (product.name, product.active) == ("The big mug", False)


def test_an_edit_needs_the_token_of_its_form(sku):
    client = signed_in("administrator", enforce_csrf_checks=True)

    response = client.post(page(sku), {"unit_price": "1", "active": "on", "reason": "x"})

    assert response.status_code == 403
    sku.refresh_from_db()
    assert sku.unit_price == 250
