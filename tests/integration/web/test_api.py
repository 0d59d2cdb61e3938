import re
from decimal import Decimal
from pathlib import Path

import pytest
from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.test import Client

from billing.handlers import RegisteredSeen, open_account
from orders.json_api.problems import KINDS
from orders.models import Order
from orders.services import NewSku, add_products
from sagas.api import transaction
from sagas.ids import uuid7
from sagas.models import SagaInstance
from sagas.transactions import is_detached
from tests.factories import a_sku, an_invoice_command, an_order, carry_out
from tests.integration.web.shopper import a_program, a_shopper
from tests.integration.web.told import fields, nothing_was_written, problem

pytestmark = pytest.mark.usefixtures("committed_db")


@pytest.fixture
def program():
    a_sku("MUG", stock=100, price="250.5000")
    return a_program()


def an_invoice(customer, *amounts):
    with transaction("billing"):
        open_account(
            RegisteredSeen(customer_id=customer.id, customer_name=customer.name, currency="GBP")
        )
    return carry_out(an_invoice_command(*amounts, customer_id=customer.id)).invoice_id


# -- placing and reading orders ----------------------------------------------------------------


def test_an_order_is_accepted_and_found_at_its_location(program):
    placed = program.order(("MUG", 3))

    assert placed.status_code == 202
    order = placed.json()
    assert placed.headers["Location"] == f"/api/v1/orders/{order['id']}"
    assert program.get(f"/orders/{order['id']}").json() == order
    row = Order.objects.get()
    assert order == {
        "id": str(row.id),
        "number": row.number,
        "status": "pending",
        "reason": None,
        "progress": "We are reserving your items.",
        "cancelable": True,
        "currency": "GBP",
        "goods": 752,
        "total": 752,
        "payment_method": str(program.method),
        "saga": {"id": str(row.saga_id), "status": "running"},
        "business_date": row.business_date.isoformat(),
        "placed_at": order["placed_at"],
        "confirmed_at": None,
        "closed_at": None,
        "lines": [
            {
                "position": 1,
                "sku": "MUG",
                "description": "The MUG",
                "quantity": 3,
                "unit_price": "250.5",
                "line_total": 752,
            }
        ],
    }


def test_a_canceled_order_says_why(program):
    order = program.order(("MUG", 1)).json()

    accepted = program.post(f"/orders/{order['id']}/cancel")

    assert accepted.status_code == 202
    # Over two databases the cancellation is asked for when this is said, and then decided.
    assert accepted.json()["cancelable"] is is_detached("orders")
    decided = program.get(f"/orders/{order['id']}").json()
    assert (decided["saga"]["status"], decided["cancelable"]) == ("compensating", False)
    again = program.post(f"/orders/{order['id']}/cancel")
    assert again.status_code == 202


@pytest.mark.parametrize(
    ("saga", "order", "code", "words"),
    [
        ({"past_return": True}, {}, "too_late", "is being paid"),
        (
            {"status": "completed", "finished": True},
            {"status": "confirmed", "confirmed": True},
            "too_late",
            "is confirmed and paid",
        ),
        (
            {"status": "compensating", "failure": "card_declined"},
            {},
            "already_closed",
            "come to nothing",
        ),
        (
            {"status": "compensated", "finished": True},
            {"status": "failed", "reason": "out_of_stock", "closed": True},
            "already_closed",
            "come to nothing",
        ),
    ],
)
def test_what_can_no_longer_be_canceled_says_so(program, saga, order, code, words):
    placed = an_order(("MUG", 1), customer=program.customer)
    now = placed.placed_at
    if saga.pop("finished", False):
        saga |= {"finished_at": now, "due_at": None}
    if order.pop("confirmed", False):
        order |= {"confirmed_at": now}
    if order.pop("closed", False):
        order |= {"closed_at": now}
    SagaInstance.objects.filter(id=placed.saga_id).update(**saga)
    Order.objects.filter(id=placed.id).update(**{"status": "pending", **order})

    refused = program.post(f"/orders/{placed.id}/cancel")

    assert refused.status_code == 409
    said = problem(refused)
    assert said["code"] == code
    assert words in said["detail"]


def test_the_list_of_orders_goes_on_where_it_stopped(program):
    placed = [program.order(("MUG", 1)).json()["id"] for _ in range(3)]

    first = program.get("/orders?limit=2").json()
    program.order(("MUG", 1))
    second = program.get(first["next"].removeprefix("/api/v1")).json()

    assert [one["id"] for one in first["data"]] == [placed[2], placed[1]]
    assert [one["id"] for one in second["data"]] == [placed[0]]
    assert second["next"] is None


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("limit=0", ("limit", "greater_than_equal")),
        ("limit=1000", ("limit", "less_than_equal")),
        ("limit=x", ("limit", "int_parsing")),
        ("after=x", ("after", "uuid_parsing")),
        ("after=01890a5d-ac96-774b-bcce-b302099a8057", ("after", "unknown_order")),
    ],
)
def test_a_page_that_does_not_exist_is_refused(program, query, expected):
    assert fields(program.get(f"/orders?{query}")) == [expected]


# -- who asks ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Bearer nonsense", "Basic abc", "nonsense"],
)
def test_who_has_no_token_gets_nothing(program, authorization):
    headers = {} if authorization is None else {"Authorization": authorization}

    refused = Client().get("/api/v1/orders", headers=headers)

    assert problem(refused)["code"] == "unauthorized"
    assert refused.headers["WWW-Authenticate"] == "Bearer"


def test_cookies_are_not_looked_at(program):
    browser, _ = a_shopper()

    refused = browser.get("/api/v1/orders")
    answered = program.order(("MUG", 1))

    assert refused.status_code == 401
    assert not answered.cookies
    assert "Cookie" not in answered.headers.get("Vary", "")


def test_what_belongs_to_somebody_else_is_not_there(program):
    stranger = a_program()
    order = program.order(("MUG", 1)).json()["id"]
    invoice = an_invoice(program.customer, 500)
    nowhere = uuid7()

    def answer(kind, one, method="get", tail=""):
        response = getattr(stranger, method)(f"/{kind}/{one}{tail}")
        said = problem(response)
        del said["instance"], said["request_id"]
        return response.status_code, said

    for kind, one in (("orders", order), ("invoices", invoice)):
        assert answer(kind, one) == answer(kind, nowhere)
        assert answer(kind, one)[0] == 404
    theirs = answer("orders", order, "post", "/cancel")
    assert theirs == answer("orders", nowhere, "post", "/cancel")
    assert SagaInstance.objects.get().status == "running"
    assert stranger.get("/orders").json()["data"] == []
    assert stranger.get("/invoices").json()["data"] == []


# -- the rest of the interface ---------------------------------------------------------------------


def test_products_are_listed_by_name_and_found_by_a_part_of_it(program):
    add_products(
        [
            NewSku(code=name, name=name, unit_price=Decimal(100), stock=1)
            for name in ("Apple", "Pear", "Pineapple")
        ]
    )

    first = program.get("/products?search=apple&limit=1").json()
    second = program.get(first["next"].removeprefix("/api/v1")).json()

    assert [one["name"] for one in first["data"] + second["data"]] == ["Apple", "Pineapple"]
    assert first["data"][0]["skus"] == [
        {"sku": "Apple", "unit_price": "100", "currency": "GBP", "available": 1}
    ]
    assert second["next"] is None
    assert fields(program.get("/products?after=nowhere")) == [("after", "unknown_product")]
    assert fields(program.get("/products?search=%00")) == [("search", "string_pattern_mismatch")]


def test_payment_methods_are_those_of_the_customer(program):
    a_program("card_declined")

    (method,) = program.get("/payment-methods").json()["data"]

    assert method["id"] == str(program.method)
    assert method["last4"] == "4242"


def test_invoices_are_listed_and_shown_with_their_lines(program):
    one, two = an_invoice(program.customer, 500, 250), an_invoice(program.customer, 100)

    first = program.get("/invoices?limit=1").json()
    second = program.get(first["next"].removeprefix("/api/v1")).json()
    shown = program.get(f"/invoices/{one}").json()

    assert [item["id"] for item in first["data"] + second["data"]] == [str(two), str(one)]
    assert (shown["total"], shown["status"]) == (750, "open")
    assert [line["line_total"] for line in shown["lines"]] == [500, 250]
    assert fields(program.get(f"/invoices?after={uuid7()}")) == [("after", "unknown_invoice")]


@pytest.mark.parametrize("path", ["/", "/nowhere", "/orders/", "/orders/1", "/orders/x/cancel"])
def test_an_address_that_does_not_exist_is_a_problem_too(program, path):
    assert problem(program.get(path))["code"] == "not_found"


def test_a_method_that_does_not_exist_is_a_problem_too(program):
    refused = program.post("/products", {})

    assert problem(refused)["code"] == "method_not_allowed"
    assert refused.headers["Allow"] == "GET"


def test_a_fault_of_ours_is_a_problem_too(program, monkeypatch):
    monkeypatch.setenv("CONCORD_FAILPOINTS", "request.before_commit=raise")

    failed = program.order(("MUG", 1))

    assert problem(failed)["code"] == "internal_error"
    assert problem(failed)["request_id"] == failed.headers["X-Request-ID"]
    assert nothing_was_written()


@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
def test_a_database_that_does_not_answer_is_a_problem_too(program, monkeypatch, error):
    def fail(*arguments, **named):
        raise error

    monkeypatch.setattr("orders.services.draft_order", fail)

    failed = program.order(("MUG", 1))

    assert problem(failed)["code"] == "unavailable"
    assert failed.headers["Retry-After"] == "1"


def test_answers_are_kept_by_nobody_on_the_way(program):
    for path in ("/orders", "/payment-methods"):
        assert program.get(path).headers["Cache-Control"] == "no-store"


def test_the_interface_describes_itself(program):
    described = Client().get("/api/v1/openapi.json").json()

    assert {
        (method, path.removeprefix("/api/v1"))
        for path, methods in described["paths"].items()
        for method in methods
    } == {
        ("post", "/orders"),
        ("get", "/orders"),
        ("get", "/orders/{order_id}"),
        ("post", "/orders/{order_id}/cancel"),
        ("get", "/products"),
        ("get", "/payment-methods"),
        ("get", "/invoices"),
        ("get", "/invoices/{invoice_id}"),
    }
    place = described["paths"]["/api/v1/orders"]["post"]
    assert [one["name"] for one in place["parameters"]] == ["Idempotency-Key"]
    assert set(place["responses"]["202"]["content"]) == {"application/json"}
    assert set(place["responses"]["422"]["content"]) == {"application/problem+json"}


def test_every_problem_stands_in_the_documentation_and_on_its_page(program):
    document = (Path(settings.BASE_DIR) / "docs" / "http-api.md").read_text()
    told = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", document, re.MULTILINE))
    page = Client().get("/docs/http-api").content.decode()

    assert told == {code: str(kind.status) for code, kind in KINDS.items()}
    assert all(f'id="{code}"' in page for code in KINDS)
