from functools import partial

import psycopg
import pytest

from tests.integration.simulator.world import all_at_once


def test_the_same_key_replays_the_first_answer(provider):
    first = provider.prepare(key="once")
    again = provider.prepare(key="once")

    assert again.body == first.body
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(provider.get("/v1/intents").body["data"]) == 1


def test_a_decline_is_replayed_too(provider):
    ref = provider.prepared()
    provider.fault("decline", operation="confirm", code="insufficient_funds")

    first = provider.post(f"/v1/intents/{ref}/confirm", key="once")
    again = provider.post(f"/v1/intents/{ref}/confirm", key="once")
    other_key = provider.post(f"/v1/intents/{ref}/confirm", key="twice")

    assert [first.status, again.status, other_key.status] == [402, 402, 200]
    assert again.headers["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize("path", ["confirm", "capture", "cancel"])
def test_a_call_that_was_refused_is_refused_for_ever_under_its_key(provider, path):
    ref = provider.prepared() if path == "confirm" else provider.authorized()
    provider.fault("refuse", operation=path)

    answers = [
        provider.post(f"/v1/intents/{ref}/{path}", key=key) for key in ("once", "once", "twice")
    ]

    assert [(answer.status, answer.headers.get("Idempotency-Replayed")) for answer in answers] == [
        (403, None),
        (403, "true"),
        (200, None),
    ]
    assert answers[1].code == "account_restricted"


def test_an_error_after_the_effect_is_replayed_for_ever_under_its_key(provider):
    ref = provider.authorized("card_error_after")

    answers = [provider.post(f"/v1/intents/{ref}/capture", key="once") for _ in range(3)]

    assert [answer.status for answer in answers] == [500, 500, 500]
    assert provider.intent(ref)["status"] == "captured"
    assert provider.executed("capture") == 1


def test_a_key_belongs_to_one_request(provider):
    provider.prepare(key="once", amount=1000)

    other_amount = provider.prepare(key="once", amount=1001)
    ref = provider.prepared()
    other_address = provider.post(f"/v1/intents/{ref}/confirm", key="once")

    assert (other_amount.status, other_amount.code) == (400, "idempotency_mismatch")
    assert (other_address.status, other_address.code) == (400, "idempotency_mismatch")
    assert provider.intent(ref)["status"] == "prepared"


def test_a_refused_request_leaves_its_key_free(provider):
    refused = provider.prepare("card_of_nobody", key="once")
    accepted = provider.prepare("card_good", key="once")

    assert [refused.status, accepted.status] == [400, 200]


@pytest.mark.parametrize("action", ["error_before", "busy", "in_progress"])
def test_a_call_that_never_began_leaves_its_key_free(provider, action):
    ref = provider.authorized()
    provider.fault(action, operation="capture")

    first = provider.post(f"/v1/intents/{ref}/capture", key="once")
    again = provider.post(f"/v1/intents/{ref}/capture", key="once")

    assert first.status in {500, 429, 409}
    assert again.status == 200
    assert "Idempotency-Replayed" not in again.headers


def test_a_key_in_use_is_refused_until_the_first_request_has_ended(provider):
    ref = provider.authorized()
    with psycopg.connect(provider.database_url) as session:
        session.execute("SELECT pg_advisory_xact_lock(hashtextextended('once', 0))")
        meanwhile = provider.post(f"/v1/intents/{ref}/capture", key="once")
    afterwards = provider.post(f"/v1/intents/{ref}/capture", key="once")

    assert (meanwhile.status, meanwhile.code) == (409, "key_in_progress")
    assert meanwhile.headers["Retry-After"] == "1"
    assert afterwards.status == 200


def test_many_requests_under_one_key_are_one_effect(provider):
    answers = all_at_once(*(partial(provider.prepare, key="once") for _ in range(20)))

    assert {answer.status for answer in answers} <= {200, 409}
    refs = {answer.body["id"] for answer in answers if answer.status == 200}
    assert len(refs) == 1
    codes = {answer.code for answer in answers if answer.status == 409}
    assert codes <= {"key_in_progress"}
    assert provider.sql("SELECT count(*) FROM simulator_intent") == [(1,)]


def test_a_key_is_forgotten_after_a_day(provider):
    first = provider.prepare(key="once")
    provider.sql(
        """UPDATE simulator_storedanswer SET created_at = created_at - interval '25 hours'
            RETURNING 1"""
    )

    second = provider.prepare(key="once")

    assert second.status == 200
    assert second.body["id"] != first.body["id"]
