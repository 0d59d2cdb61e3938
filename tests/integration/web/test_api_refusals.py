import pytest
from django.conf import settings
from django.test import Client

from orders.services import set_active
from sagas.ids import uuid7
from tests.factories import a_method, a_sku
from tests.integration.web.shopper import a_program
from tests.integration.web.told import fields, nothing_was_written, problem

pytestmark = pytest.mark.usefixtures("committed_db")


@pytest.fixture
def program():
    a_sku("MUG", stock=100, price="250.5000")
    return a_program()


LINE = {"sku": "MUG", "quantity": 1}


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], [("lines", "empty_cart")]),
        ([{**LINE, "quantity": 0}], [("lines[0].quantity", "bad_quantity")]),
        ([{**LINE, "quantity": -1}], [("lines[0].quantity", "bad_quantity")]),
        ([LINE, {**LINE, "quantity": 10**9}], [("lines[1].quantity", "bad_quantity")]),
        ([{**LINE, "quantity": "2"}], [("lines[0].quantity", "int_type")]),
        ([{**LINE, "quantity": True}], [("lines[0].quantity", "int_type")]),
        ([{**LINE, "quantity": 1.5}], [("lines[0].quantity", "int_type")]),
        ([{"sku": "MUG"}], [("lines[0].quantity", "missing")]),
        ([{**LINE, "sku": "NONE"}], [("lines[0].sku", "unknown_sku")]),
        ([{**LINE, "sku": "OLD"}], [("lines[0].sku", "inactive_sku")]),
        ([{**LINE, "sku": "M\0G"}], [("lines[0].sku", "string_pattern_mismatch")]),
        ([{**LINE, "sku": "x" * 65}], [("lines[0].sku", "string_too_long")]),
        ([{**LINE, "sku": 7}], [("lines[0].sku", "string_type")]),
        ([{**LINE, "color": "red"}], [("lines[0].color", "extra_forbidden")]),
        ([LINE, {**LINE, "sku": "DOLLAR"}], [("lines", "mixed_currencies")]),
        ([LINE] * 2001, [("lines", "too_long")]),
        (LINE, [("lines", "list_type")]),
        (None, [("lines", "list_type")]),
        (
            [{"sku": "NONE", "quantity": 0}],
            [("lines[0].quantity", "bad_quantity"), ("lines[0].sku", "unknown_sku")],
        ),
    ],
)
def test_a_wrong_line_is_named_with_the_way_out(program, lines, expected):
    a_sku("OLD")
    set_active(sku="OLD", active=False)
    a_sku("DOLLAR", currency="USD")

    refused = program.post("/orders", {"lines": lines, "payment_method": str(program.method)})

    assert refused.status_code == 422
    assert fields(refused) == expected
    assert nothing_was_written()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"payment_method": "x"}, ("payment_method", "uuid_parsing")),
        ({"payment_method": None}, ("payment_method", "uuid_type")),
        ({"payment_method": str(uuid7())}, ("payment_method", "unknown_payment_method")),
        ({"total": 1}, ("total", "extra_forbidden")),
        ({"customer": str(uuid7())}, ("customer", "extra_forbidden")),
    ],
)
def test_a_wrong_field_is_named_with_the_way_out(program, change, expected):
    body = {"lines": [LINE], "payment_method": str(program.method), **change}

    refused = program.post("/orders", body)

    assert refused.status_code == 422
    assert fields(refused) == [expected]
    assert nothing_was_written()


def test_somebody_elses_card_is_no_way_to_pay(program):
    refused = program.order(("MUG", 1), method=a_method(a_program().customer))

    assert fields(refused) == [("payment_method", "unknown_payment_method")]
    assert nothing_was_written()


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ("{", "malformed_body"),
        ("[]", "malformed_body"),
        ("null", "malformed_body"),
        ('"text"', "malformed_body"),
        ("", "malformed_body"),
        ('{"lines": NaN}', "malformed_body"),
        ('{"lines": [], "lines": []}', "malformed_body"),
        ("[" * 100_000, "malformed_body"),
        (b"\xff\xfe{}", "malformed_body"),
        (f'{{"lines": {"9" * 5000}}}', "malformed_body"),
        (f'{{"x": "{"x" * 256 * 1024}"}}', "body_too_large"),
        ("x" * (settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1), "body_too_large"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused(program, raw, code):
    refused = program.post("/orders", raw=raw)

    assert problem(refused)["code"] == code
    assert nothing_was_written()


@pytest.mark.parametrize(
    ("content_type", "raw"),
    [
        ("multipart/form-data", "x"),
        ("application/x-www-form-urlencoded", "a=1&" * 2000),
        ("application/x-www-form-urlencoded; charset=utf-16", "a=1"),
    ],
)
def test_a_form_that_cannot_be_read_is_refused(program, content_type, raw):
    order = program.order(("MUG", 1)).json()

    refused = Client().post(
        f"/api/v1/orders/{order['id']}/cancel",
        raw,
        content_type=content_type,
        headers={"Authorization": f"Bearer {program.token}", "Idempotency-Key": "k"},
    )

    assert problem(refused)["code"] == "malformed_request"


def test_too_many_parameters_are_refused(program):
    assert problem(program.get("/products?" + "a&" * 1100))["code"] == "malformed_request"


def test_a_name_that_is_no_text_is_not_called_a_missing_body(program):
    refused = program.post("/orders", raw='{"\\ud800": 1}')

    assert problem(refused)["code"] == "malformed_body"
    assert "no body" not in problem(refused)["detail"]


def test_a_form_is_no_json(program):
    refused = Client().post(
        "/api/v1/orders",
        {"lines": "x"},
        headers={"Authorization": f"Bearer {program.token}", "Idempotency-Key": "k"},
    )

    assert problem(refused)["code"] == "unsupported_media_type"
