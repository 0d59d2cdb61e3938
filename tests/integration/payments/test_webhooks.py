import hashlib
import hmac
import json
import logging

import pytest

from payments.models import Payment, WebhookEvent
from sagas.api import clock, uuid7

pytestmark = pytest.mark.django_db

ADDRESS = "/webhooks/simulator"


@pytest.fixture(autouse=True)
def own_urls(settings):
    settings.ROOT_URLCONF = "payments.urls"
    settings.WEBHOOK_SECRETS = ["new-secret", "old-secret"]


@pytest.fixture
def payment():
    return Payment.objects.create(
        purpose_id=uuid7(), customer_id=uuid7(), currency="GBP", amount=100, provider_ref="in_1"
    )


def event(reference, *, ref="evt_1", kind="intent.captured", provider_ref="in_1"):
    return json.dumps(
        {
            "id": ref,
            "type": kind,
            "created": 1,
            "data": {"object": {"id": provider_ref, "reference": str(reference)}},
        }
    ).encode()


def signed(raw, *, secret="new-secret", ago=0):
    instant = str(int(clock.real().timestamp()) - ago)
    mark = hmac.new(secret.encode(), f"{instant}.".encode() + raw, hashlib.sha256).hexdigest()
    return f"t={instant},v1={mark}"


def send(client, raw, header=None):
    headers = {"Sim-Signature": signed(raw) if header is None else header}
    return client.post(ADDRESS, raw, content_type="application/json", headers=headers).status_code


def test_an_event_of_a_payment_is_recorded(client, payment):
    raw = event(payment.id)

    assert send(client, raw) == 200

    row = WebhookEvent.objects.get()
    assert (row.state, row.payment_id) == ("recorded", payment.id)
    assert (row.provider, row.event_ref, row.type) == ("simulator", "evt_1", "intent.captured")
    assert bytes(row.body) == raw


def test_an_event_moves_no_money(client, payment):
    send(client, event(payment.id))

    payment.refresh_from_db()
    assert (payment.status, payment.authorized, payment.captured) == ("created", 0, 0)


def test_an_event_that_comes_before_our_own_answer_finds_its_payment(client, payment):
    Payment.objects.filter(id=payment.id).update(provider_ref=None)

    send(client, event(payment.id, kind="intent.prepared"))

    assert WebhookEvent.objects.get().payment_id == payment.id


def test_an_event_without_our_reference_is_found_by_the_providers_name(client, payment):
    send(client, event("not-a-uuid"))

    assert WebhookEvent.objects.get().payment_id == payment.id


def test_a_duplicate_is_accepted_and_kept_once(client, payment):
    raw = event(payment.id)

    assert [send(client, raw) for _ in range(3)] == [200, 200, 200]
    assert WebhookEvent.objects.count() == 1


def test_an_event_about_nothing_of_ours_is_parked(client):
    assert send(client, event(uuid7(), provider_ref="in_other")) == 200

    row = WebhookEvent.objects.get()
    assert (row.state, row.payment_id, row.provider_ref) == ("parked", None, "in_other")


def test_an_event_of_another_type_is_kept_and_ignored(client, payment):
    assert send(client, event(payment.id, kind="customer.created")) == 200

    assert WebhookEvent.objects.get().state == "ignored"


def test_any_changed_byte_is_refused(client, payment, caplog):
    caplog.set_level(logging.CRITICAL)
    raw = event(payment.id)
    header = signed(raw)

    for position in range(len(raw)):
        changed = raw[:position] + bytes([raw[position] ^ 1]) + raw[position + 1 :]
        assert send(client, changed, header) == 400, position

    assert send(client, raw + b" ", header) == 400
    assert WebhookEvent.objects.count() == 0


@pytest.mark.parametrize("ago", [301, 100_000, -330])  # the future comes nearer meanwhile
def test_a_message_too_old_or_from_the_future_is_refused(client, payment, ago):
    raw = event(payment.id)

    assert send(client, raw, signed(raw, ago=ago)) == 400
    assert WebhookEvent.objects.count() == 0


@pytest.mark.parametrize("ago", [0, 290, -290])
def test_a_message_within_the_tolerance_is_taken(client, payment, ago):
    raw = event(payment.id)

    assert send(client, raw, signed(raw, ago=ago)) == 200


def test_both_secrets_are_good_while_one_replaces_the_other(client, payment):
    for number, secret in enumerate(("new-secret", "old-secret")):
        raw = event(payment.id, ref=f"evt_{number}")
        assert send(client, raw, signed(raw, secret=secret)) == 200

    raw = event(payment.id, ref="evt_9")
    assert send(client, raw, signed(raw, secret="older-secret")) == 400
    both = signed(raw, secret="older-secret") + ",v1=" + signed(raw).partition("v1=")[2]
    assert send(client, raw, both) == 200


@pytest.mark.parametrize(
    "header", ["", "t=1", "v1=ab", "t=,v1=ab", "t=1,t=2,v1=ab", "t=x,v1=é", "v1," * 400]
)
def test_a_malformed_signature_is_refused(client, payment, header):
    assert send(client, event(payment.id), header) == 400


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b'{"id": "evt"}', b'{"id": 1, "type": "a", "data": {"object": {}}}']
)
def test_a_signed_message_that_says_nothing_is_refused(client, raw):
    assert send(client, raw) == 400
    assert WebhookEvent.objects.count() == 0


@pytest.mark.parametrize("half", ["evt_1", "intent.captured", "in_1"])
def test_a_signed_message_with_half_a_character_is_refused(client, payment, half):
    raw = event(payment.id).replace(half.encode(), rb"\ud800")

    assert send(client, raw) == 400
    assert WebhookEvent.objects.count() == 0


def test_a_large_message_is_refused_unread(client):
    assert send(client, b" " * (64 * 1024 + 1)) == 413


def test_only_posts_are_taken(client):
    assert client.get(ADDRESS).status_code == 405
