"""What is promised of the Idempotency-Key, with Redis there, emptied in between, and gone."""

import threading
from contextlib import contextmanager

import pytest
from django.db import connections

from orders.models import Idempotency, Order
from orders.services import set_active
from sagas.api import transaction
from sagas.idempotency import records
from sagas.idempotency.records import KeyedRequest
from sagas.models import SagaInstance
from sagas.orchestration.donekeys import client
from tests.factories import a_sku, an_order
from tests.integration.web.redis_states import STATES, redis_in
from tests.integration.web.shopper import a_program

pytestmark = pytest.mark.usefixtures("committed_db")
VARYING = ("X-Request-ID", "Idempotency-Replayed")


@pytest.fixture(params=STATES)
def between(request):
    with redis_in(request.param) as act:
        yield act


@pytest.fixture
def program():
    a_sku("MUG", stock=100)
    return a_program()


def said(response):
    headers = {name: value for name, value in response.headers.items() if name not in VARYING}
    return response.status_code, headers, response.content


def replayed(response):
    return response.headers.get("Idempotency-Replayed") == "true"


@contextmanager
def a_twin_at_work(program, key, route="api/v1/orders"):
    """Somebody else has begun with this key and has not committed."""
    request = KeyedRequest(
        context="orders",
        scope=f"customer:{program.customer.id} POST {route}",
        key=key,
        fingerprint="",
    )
    locked, done = threading.Event(), threading.Event()

    def hold():
        with transaction("orders"):
            assert records._try_lock(request)
            locked.set()
            done.wait(30)
        connections.close_all()

    twin = threading.Thread(target=hold)
    twin.start()
    assert locked.wait(30)
    yield
    done.set()
    twin.join(30)


def test_a_repeated_request_is_answered_the_same_and_does_nothing(between, program):
    first = program.order(("MUG", 2), key="k")
    between()
    again = program.order(("MUG", 2), key='"k"')
    between()
    once_more = program.order(("MUG", 2), key="k")

    assert first.status_code == 202
    assert not replayed(first)
    assert said(first) == said(again) == said(once_more)
    assert replayed(again)
    assert replayed(once_more)
    assert Order.objects.count() == SagaInstance.objects.count() == 1


def test_white_space_makes_no_other_request(between, program):
    lines = '"lines": [{"quantity": 2,\n "sku": "MUG"}]'
    body = f'{{"payment_method": "{program.method}", {lines}}}'
    program.order(("MUG", 2), key="k")
    between()

    again = program.post("/orders", raw=body, key="k")

    assert replayed(again)


def test_another_request_under_the_same_key_is_refused(between, program):
    program.order(("MUG", 2), key="k")
    between()

    other = program.order(("MUG", 3), key="k")

    assert other.status_code == 422
    assert other.json()["code"] == "idempotency_key_reused"
    assert Order.objects.count() == 1


def test_a_request_whose_twin_is_at_work_is_told_to_come_again(between, program):
    with a_twin_at_work(program, "k"):
        early = program.order(("MUG", 2), key="k")
        between()
        another_key = program.order(("MUG", 2), key="k2")

    assert early.status_code == 409
    assert early.headers["Retry-After"] == "1"
    assert early.json()["code"] == "idempotency_key_in_use"
    assert another_key.status_code == 202
    assert program.order(("MUG", 2), key="k").status_code == 202


def test_the_same_key_of_somebody_else_is_another_key(between, program):
    other = a_program()
    mine = program.order(("MUG", 2), key="k")
    between()

    theirs = other.order(("MUG", 2), key="k")

    assert theirs.status_code == 202
    assert not replayed(theirs)
    assert mine.json()["id"] != theirs.json()["id"]


def test_the_same_key_at_another_address_is_another_key(between, program):
    placed = program.order(("MUG", 2), key="k")
    between()

    canceled = program.post(f"/orders/{placed.json()['id']}/cancel", key="k")

    assert canceled.status_code == 202
    assert not replayed(canceled)


def test_the_same_key_for_another_order_is_refused(between, program):
    one, two = (program.order(("MUG", 1)).json()["id"] for _ in range(2))
    program.post(f"/orders/{one}/cancel", key="k")
    between()

    other = program.post(f"/orders/{two}/cancel", key="k")

    assert other.status_code == 422
    assert SagaInstance.objects.get(subject_id=two).status == "running"


def test_a_refusal_before_the_work_is_not_kept(between, program):
    set_active(sku="MUG", active=False)
    refused = program.order(("MUG", 2), key="k")
    set_active(sku="MUG", active=True)
    between()

    taken = program.order(("MUG", 2), key="k")

    assert (refused.status_code, taken.status_code) == (422, 202)
    assert not replayed(taken)


def test_an_answer_stands_although_the_request_would_be_refused_by_now(between, program):
    first = program.order(("MUG", 2), key="k")
    set_active(sku="MUG", active=False)
    between()

    again = program.order(("MUG", 2), key="k")

    assert said(again) == said(first)


def test_a_decision_against_the_request_is_kept(between, program):
    order = an_order(("MUG", 1), customer=program.customer)
    SagaInstance.objects.filter(id=order.saga_id).update(past_return=True)
    late = program.post(f"/orders/{order.id}/cancel", key="k")
    SagaInstance.objects.filter(id=order.saga_id).update(past_return=False)
    between()

    again = program.post(f"/orders/{order.id}/cancel", key="k")

    assert late.status_code == 409
    assert late.json()["code"] == "too_late"
    assert said(late) == said(again)
    assert replayed(again)


def test_nothing_is_left_of_a_request_that_died_before_its_commit(between, program, monkeypatch):
    monkeypatch.setenv("CONCORD_FAILPOINTS", "request.before_commit=raise")
    died = program.order(("MUG", 2), key="k")
    monkeypatch.delenv("CONCORD_FAILPOINTS")
    between()

    assert died.status_code == 500
    assert Order.objects.count() == Idempotency.objects.count() == 0
    assert program.order(("MUG", 2), key="k").status_code == 202


def test_a_request_that_died_after_its_commit_is_answered_when_it_comes_again(
    between, program, monkeypatch
):
    monkeypatch.setenv("CONCORD_FAILPOINTS", "request.committed=raise")
    died = program.order(("MUG", 2), key="k")
    monkeypatch.delenv("CONCORD_FAILPOINTS")
    between()

    again = program.order(("MUG", 2), key="k")

    assert died.status_code == 500
    assert again.status_code == 202
    assert replayed(again)
    assert Order.objects.count() == 1


@pytest.mark.parametrize(
    ("key", "code"),
    [
        (None, "idempotency_key_missing"),
        ("a b", "idempotency_key_malformed"),
        ('"abc', "idempotency_key_malformed"),
        ("x" * 256, "idempotency_key_malformed"),
        ("one,two", "idempotency_key_repeated"),
    ],
)
def test_a_request_without_a_proper_key_does_nothing(program, key, code):
    placed = program.order(("MUG", 2), **{"Idempotency-Key": key})
    canceled = program.post(f"/orders/{program.method}/cancel", **{"Idempotency-Key": key})

    assert {placed.status_code, canceled.status_code} == {400}
    assert {placed.json()["code"], canceled.json()["code"]} == {code}
    assert Order.objects.count() == 0


def test_redis_is_told_after_the_commit_and_never_before(program, monkeypatch):
    monkeypatch.setenv("CONCORD_FAILPOINTS", "request.before_commit=raise")
    program.order(("MUG", 2), key="k")
    before = client().keys("sagas:request:*")
    monkeypatch.delenv("CONCORD_FAILPOINTS")
    program.order(("MUG", 2), key="k")

    assert before == []
    (name,) = client().keys("sagas:request:*")
    assert 0 < client().ttl(name) <= 86_400


def test_redis_alone_answers_a_repeated_request(program):
    first = program.order(("MUG", 2), key="k")
    Idempotency.objects.all().delete()

    assert said(program.order(("MUG", 2), key="k")) == said(first)


@pytest.mark.parametrize("rubbish", ["", "no JSON", "[]", "{}"])
def test_rubbish_in_redis_is_taken_for_nothing(program, rubbish):
    first = program.order(("MUG", 2), key="k")
    (name,) = client().keys("sagas:request:*")
    client().set(name, rubbish)

    again = program.order(("MUG", 2), key="k")

    assert said(again) == said(first)
    assert Order.objects.count() == 1
