from functools import partial

import pytest

from tests.integration.simulator.world import all_at_once


def test_a_good_card_goes_from_prepared_to_captured(provider):
    prepared = provider.prepare(amount=1000, reference="order-9", metadata={"shop": "one"})
    ref = prepared.body["id"]
    authorized = provider.post(f"/v1/intents/{ref}/confirm")
    captured = provider.post(f"/v1/intents/{ref}/capture")

    assert [prepared.status, authorized.status, captured.status] == [200, 200, 200]
    assert prepared.body["amount_authorized"] == 0
    assert authorized.body["amount_authorized"] == 1000
    assert captured.body["status"] == "captured"
    created = captured.body.pop("created")
    assert created > 1_700_000_000
    assert captured.body == {
        "id": ref,
        "status": "captured",
        "amount": 1000,
        "currency": "GBP",
        "amount_authorized": 1000,
        "amount_captured": 1000,
        "amount_refunded": 0,
        "payment_method": "card_good",
        "reference": "order-9",
        "metadata": {"shop": "one"},
        "last_error": None,
    }


@pytest.mark.parametrize(
    ("card", "code"),
    [("card_declined", "generic_decline"), ("card_insufficient_funds", "insufficient_funds")],
)
def test_a_bad_card_is_declined_when_it_is_confirmed(provider, card, code):
    ref = provider.prepared(card)

    answer = provider.post(f"/v1/intents/{ref}/confirm")

    assert (answer.status, answer.body["error"]["type"]) == (402, "card_declined")
    assert answer.code == code
    intent = provider.intent(ref)
    assert (intent["status"], intent["amount_authorized"]) == ("prepared", 0)
    assert intent["last_error"] == {"type": "card_declined", "code": code}


def test_a_capture_can_be_declined_after_a_good_confirm(provider):
    ref = provider.authorized("card_capture_declined")

    answer = provider.post(f"/v1/intents/{ref}/capture")

    assert (answer.status, answer.code) == (402, "generic_decline")
    assert provider.intent(ref)["amount_captured"] == 0
    assert provider.intent(ref)["status"] == "authorized"


def test_an_unknown_card_is_refused_at_once(provider):
    answer = provider.prepare("card_of_nobody")

    assert (answer.status, answer.code) == (400, "unknown_payment_method")
    assert provider.get("/v1/intents").body["data"] == []


def test_a_capture_before_the_confirm_is_refused(provider):
    ref = provider.prepared()

    answer = provider.post(f"/v1/intents/{ref}/capture")

    assert (answer.status, answer.code) == (409, "not_authorized")
    assert answer.body["intent"]["status"] == "prepared"


def test_a_second_capture_under_another_key_is_refused(provider):
    ref = provider.captured()

    answer = provider.post(f"/v1/intents/{ref}/capture", key="another")

    assert (answer.status, answer.code) == (409, "already_captured")
    assert answer.body["intent"]["amount_captured"] == 1000


@pytest.mark.parametrize("operation", ["confirm", "capture"])
@pytest.mark.parametrize("beginning", ["prepared", "authorized"])
def test_nothing_succeeds_after_a_cancel_whatever_the_key(provider, beginning, operation):
    ref = getattr(provider, beginning)()
    canceled = provider.post(f"/v1/intents/{ref}/cancel", key="close")

    answers = [provider.post(f"/v1/intents/{ref}/{operation}", key=key) for key in ("", "a", "b")]

    assert canceled.body["status"] == "canceled"
    assert {(answer.status, answer.code) for answer in answers} == {(409, "canceled")}
    assert provider.intent(ref)["status"] == "canceled"


def test_a_cancel_can_be_said_twice(provider):
    ref = provider.authorized()
    provider.post(f"/v1/intents/{ref}/cancel", key="one")

    again = provider.post(f"/v1/intents/{ref}/cancel", key="two")

    assert (again.status, again.body["status"]) == (200, "canceled")
    assert provider.executed("cancel") == 1


def test_a_captured_intent_cannot_be_canceled(provider):
    ref = provider.captured()

    answer = provider.post(f"/v1/intents/{ref}/cancel")

    assert (answer.status, answer.code) == (409, "already_captured")
    assert answer.body["intent"]["status"] == "captured"


def test_less_than_is_held_may_be_captured_but_not_more(provider):
    ref = provider.authorized(amount=1000)

    too_much = provider.post(f"/v1/intents/{ref}/capture", {"amount": 1001}, key="much")
    part = provider.post(f"/v1/intents/{ref}/capture", {"amount": 400}, key="part")

    assert (too_much.status, too_much.code) == (400, "amount_too_large")
    assert part.body["amount_captured"] == 400
    assert provider.get("/v1/balance").body["captured"] == {"GBP": 400}


def test_refunds_stop_at_what_was_captured(provider):
    ref = provider.captured(amount=1000)
    body = {"intent": ref, "amount": 400, "reference": "return-1"}

    answers = [provider.post("/v1/refunds", body, key=f"refund-{n}") for n in range(3)]

    assert [answer.status for answer in answers] == [200, 200, 400]
    assert answers[2].code == "amount_too_large"
    replayed = provider.post("/v1/refunds", body, key="refund-2")
    assert (replayed.status, replayed.headers["Idempotency-Replayed"]) == (400, "true")
    assert provider.intent(ref)["amount_refunded"] == 800
    listed = provider.get("/v1/refunds?reference=return-1").body["data"]
    assert [refund["amount"] for refund in listed] == [400, 400]


def test_a_refund_before_the_capture_is_refused(provider):
    ref = provider.authorized()

    answer = provider.post("/v1/refunds", {"intent": ref, "amount": 1, "reference": "r"})

    assert (answer.status, answer.code) == (409, "not_captured")


def test_the_database_refuses_over_capture_and_over_refund_by_itself(provider):
    ref = provider.captured(amount=1000)

    for assignment in (
        "amount_captured = 1001",
        "amount_refunded = 1001",
        "status = 'canceled'",
        "amount_authorized = 1001, amount_captured = 1001",
    ):
        with pytest.raises(Exception, match="violates check constraint"):
            provider.sql(
                f"UPDATE simulator_intent SET {assignment} WHERE ref = %s RETURNING 1", ref
            )


def test_twenty_captures_at_once_under_twenty_keys_are_one_capture(provider):
    ref = provider.authorized()

    answers = all_at_once(
        *(
            partial(provider.post, f"/v1/intents/{ref}/capture", key=f"capture-{n}")
            for n in range(20)
        )
    )

    assert sorted(answer.status for answer in answers) == [200] + [409] * 19
    assert {answer.code for answer in answers if answer.status == 409} == {"already_captured"}
    assert provider.executed("capture") == 1
    assert provider.get("/v1/balance").body["captured"] == {"GBP": 1000}


def test_a_cancel_beside_a_capture_never_lets_both_happen(provider):
    ends = []
    for n in range(60):
        ref = provider.authorized(reference=f"race-{n}")
        capture, cancel = all_at_once(
            partial(provider.post, f"/v1/intents/{ref}/capture", key=f"capture-{n}"),
            partial(provider.post, f"/v1/intents/{ref}/cancel", key=f"cancel-{n}"),
        )
        ends.append((capture.status, cancel.status, provider.intent(ref)["status"]))

    assert set(ends) <= {(200, 409, "captured"), (409, 200, "canceled")}
    assert provider.executed("capture") + provider.executed("cancel") == 60


def test_intents_are_found_by_reference(provider):
    first = provider.prepared(reference="mine")
    second = provider.prepared(reference="mine")
    provider.prepared(reference="yours")

    found = provider.get("/v1/intents?reference=mine").body

    assert [intent["id"] for intent in found["data"]] == [first, second]
    assert found["has_more"] is False


def test_the_whole_list_is_read_page_by_page_oldest_first(provider):
    refs = [provider.prepared(reference=f"order-{n}") for n in range(7)]

    pages, after = [], ""
    while True:
        page = provider.get(f"/v1/intents?limit=3{after}").body
        pages.append([intent["id"] for intent in page["data"]])
        if not page["has_more"]:
            break
        after = f"&after={pages[-1][-1]}"
        # An intent that comes meanwhile joins at the end.
        refs.append(provider.prepared(reference="late")) if len(pages) == 1 else None

    assert [ref for page in pages for ref in page] == refs
    assert [len(page) for page in pages] == [3, 3, 2]


def test_the_balance_tells_what_is_held_taken_and_given_back(provider):
    provider.prepared(amount=1)
    provider.authorized(amount=10)
    canceled = provider.authorized(amount=100)
    provider.post(f"/v1/intents/{canceled}/cancel")
    captured = provider.captured(amount=1000)
    provider.post("/v1/refunds", {"intent": captured, "amount": 300, "reference": "r"})

    balance = provider.get("/v1/balance").body

    assert balance == {
        "captured": {"GBP": 1000},
        "refunded": {"GBP": 300},
        "authorized_open": {"GBP": 10},
    }
