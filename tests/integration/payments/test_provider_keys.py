"""A no that the provider keeps under the key, and the new key that follows it."""

import pytest

from payments import api
from payments.gateway import ProviderDefect, ProviderRefusal
from sagas.api import Rejected, Unknown
from sagas.failpoints import FailpointHit
from sagas.sometimes import met
from tests.integration.payments.driving import Driver

pytestmark = pytest.mark.usefixtures("committed_db", "provider")


@pytest.fixture
def fail_at(monkeypatch):
    return lambda place: monkeypatch.setenv("CONCORD_FAILPOINTS", f"{place}=raise")


def to_capture(driver):
    driver.prepare()
    driver.authorize()
    return driver


def be_refused(provider, driver):
    """The account is restricted while a capture is asked for; what was said stays under the key."""
    provider.fault("refuse", operation="capture")
    for expected in (ProviderDefect, ProviderRefusal):
        with pytest.raises(ProviderDefect, match="capture: 403 account_restricted") as no:
            driver.capture()
        assert no.type is expected


def lose_the_hold(provider, driver):
    """The bank lets the hold go, and the provider says so with 409 not_authorized."""
    provider.sql(
        "UPDATE simulator_intent SET status = 'prepared', amount_authorized = 0"
        " WHERE ref = %s RETURNING ref",
        driver.payment.provider_ref,
    )


def sent(provider, operation):
    """The number at the end of each key, and the answer."""
    calls = provider.calls(operation=operation)
    return [(call["key"].rpartition(":")[2], call["status"], call["replayed"]) for call in calls]


def test_a_no_stored_under_the_key_is_not_replayed_once_its_cause_is_repaired(provider):
    driver = to_capture(Driver())
    be_refused(provider, driver)

    driver.capture()

    assert sent(provider, "capture") == [("0", 403, False), ("0", 403, True), ("1", 200, False)]
    assert driver.money == ("captured", 1000, 1000, 0)
    operation = driver.operation("capture")
    assert (operation.status, operation.negatives) == ("succeeded", 1)
    assert operation.idempotency_key == f"{driver.saga_id}:capture_payment:do:1"


def test_each_definite_no_makes_one_new_key(provider):
    driver = to_capture(Driver())

    for _ in range(3):
        be_refused(provider, driver)

    assert [key for key, _, _ in sent(provider, "capture")] == ["0", "0", "1", "1", "2", "2"]
    assert driver.operation("capture").negatives == 3
    assert driver.operation("capture").status == "unknown"


def test_a_worker_that_thaws_after_several_keys_sets_none_of_them_back(provider):
    driver = to_capture(Driver())

    with driver.attempt(api.CapturePayment(payment_id=driver.payment_id)) as frozen:
        frozen.intend()
        for _ in range(3):
            be_refused(provider, driver)
        with pytest.raises(ProviderRefusal):
            frozen.call()

    assert driver.operation("capture").idempotency_key.endswith(":capture_payment:do:3")


@pytest.mark.parametrize(
    ("operation", "step", "before"),
    [
        ("prepare", "prepare", ()),
        ("confirm", "authorize", ("prepare",)),
        ("capture", "capture", ("prepare", "authorize")),
        ("cancel", "void", ("prepare", "authorize")),
        ("cancel", "close", ("prepare",)),
    ],
)
def test_a_no_of_any_kind_has_a_new_key_when_it_has_come_out_of_the_store(
    provider, operation, step, before
):
    """Of a 403 it is not known whether it was stored, until it comes again as stored."""
    driver = Driver()
    for earlier in before:
        getattr(driver, earlier)()
    provider.fault("refuse", operation=operation)

    for expected in (ProviderDefect, ProviderRefusal):
        with pytest.raises(ProviderDefect, match=f"{operation}: 403 account_restricted") as no:
            getattr(driver, step)()
        assert no.type is expected
    getattr(driver, step)()

    assert sent(provider, operation) == [("0", 403, False), ("0", 403, True), ("1", 200, False)]


@pytest.mark.parametrize("action", ["error_before", "error_after", "drop_before", "drop_after"])
def test_an_unknown_outcome_never_gets_a_new_key(provider, action):
    driver = to_capture(Driver())
    provider.fault(action, operation="capture", times=2)

    for _ in range(2):
        try:
            driver.capture()
        except Unknown:
            assert driver.operation("capture").negatives == 0
    if driver.payment.status != "captured":
        driver.capture()

    assert {key for key, _, _ in sent(provider, "capture")} == {"0"}
    assert provider.executed("capture") == 1
    assert driver.money == ("captured", 1000, 1000, 0)


def test_what_is_unknown_after_a_no_keeps_the_key_it_was_sent_under(provider):
    driver = to_capture(Driver())
    be_refused(provider, driver)
    provider.fault("drop_before", operation="capture", times=2)

    for _ in range(2):
        with pytest.raises(Unknown):
            driver.capture()
    driver.capture()

    assert [key for key, _, _ in sent(provider, "capture")] == ["0", "0", "1", "1", "1"]
    assert provider.executed("capture") == 1


@pytest.mark.parametrize("wrong", [("busy", "429"), ("in_progress", "409 key_in_progress")])
def test_a_busy_provider_has_not_said_no(provider, wrong):
    driver = to_capture(Driver())
    action, answer = wrong
    provider.fault(action, operation="capture")

    with pytest.raises(Exception, match=f"capture: {answer}"):
        driver.capture()
    driver.capture()

    assert {key for key, _, _ in sent(provider, "capture")} == {"0"}


def test_a_key_that_was_used_for_something_else_says_nothing_of_the_money(provider):
    driver = to_capture(Driver())
    key = f"{driver.saga_id}:capture_payment:do:0"
    provider.post(f"/v1/intents/{driver.payment.provider_ref}/capture", {"amount": 1}, key=key)

    with driver.attempt(api.CapturePayment(payment_id=driver.payment_id)) as attempt:
        attempt.intend()
        with pytest.raises(ProviderDefect, match="idempotency_mismatch") as no:
            attempt.call()

    assert no.type is ProviderDefect
    assert driver.operation("capture").idempotency_key == key


def test_a_worker_that_thaws_with_the_old_key_is_told_the_stored_no(provider):
    driver = to_capture(Driver())
    command = api.CapturePayment(payment_id=driver.payment_id)
    before = met()["refusal.repeated"]

    with driver.attempt(command) as frozen:
        frozen.intend()
        be_refused(provider, driver)
        with pytest.raises(ProviderRefusal):
            frozen.call()
        assert driver.operation("capture").negatives == 1
        driver.capture()
        with pytest.raises(ProviderRefusal):
            frozen.call()

    assert sent(provider, "capture") == [
        ("0", 403, False),
        ("0", 403, True),
        ("0", 403, True),
        ("1", 200, False),
        ("0", 403, True),
    ]
    assert driver.operation("capture").negatives == 1
    assert provider.get("/v1/balance").body["captured"] == {"GBP": 1000}
    assert met()["refusal.repeated"] == before + 2


def test_two_workers_that_hear_the_same_no_raise_the_key_once(provider):
    driver = to_capture(Driver())
    command = api.CapturePayment(payment_id=driver.payment_id)
    provider.fault("refuse", operation="capture")
    with pytest.raises(ProviderDefect):
        driver.capture()

    with driver.attempt(command) as one, driver.attempt(command) as other:
        one.intend()
        other.intend()
        for worker in (one, other):
            with pytest.raises(ProviderRefusal):
                worker.call()

    assert driver.operation("capture").negatives == 1


def test_the_no_of_the_bank_at_the_pivot_is_no_new_key_but_the_end(provider):
    driver = to_capture(Driver(card="card_capture_declined"))

    with pytest.raises(Rejected):
        driver.capture()

    assert driver.operation("capture").idempotency_key.endswith(":0")
    assert driver.operation("capture").status == "declined"
    assert provider.intent(driver.payment.provider_ref)["status"] == "canceled"


def test_a_no_of_the_bank_that_could_not_be_made_final_is_not_asked_for_again(provider):
    """The cancel that was refused has the next key; the capture keeps its own, and its no."""
    driver = to_capture(Driver())
    provider.fault("decline", operation="capture")
    provider.fault("refuse", operation="cancel")

    for _ in range(2):
        with pytest.raises(ProviderDefect, match="cancel: 403"):
            driver.capture()
    with pytest.raises(Rejected, match="generic_decline"):
        driver.capture()

    assert sent(provider, "capture") == [("0", 402, False), ("0", 402, True), ("0", 402, True)]
    keys = [call["key"].rpartition("do:")[2] for call in provider.calls(operation="cancel")]
    assert keys == ["0:close:0", "0:close:0", "0:close:1"]
    assert driver.money == ("voided", 1000, 0, 1000)
    assert driver.operations()[2:] == [("capture", "declined"), ("void", "succeeded")]
    assert driver.operation("capture").idempotency_key.endswith(":capture_payment:do:0")


def test_of_two_who_hear_the_no_to_the_cancel_one_raises_its_number(provider):
    driver = to_capture(Driver())
    command = api.CapturePayment(payment_id=driver.payment_id)
    provider.fault("decline", operation="capture")
    provider.fault("refuse", operation="cancel")
    with pytest.raises(ProviderDefect):
        driver.capture()

    with driver.attempt(command) as one, driver.attempt(command) as other:
        one.intend()
        other.intend()
        for worker in (one, other):
            with pytest.raises(ProviderRefusal):
                worker.close()

    assert driver.operation("capture").negatives == 1


def test_the_cancel_that_makes_a_later_no_final_has_a_key_of_its_own(provider):
    driver = to_capture(Driver())
    be_refused(provider, driver)
    provider.fault("decline", operation="capture")

    with pytest.raises(Rejected):
        driver.capture()

    keys = [call["key"].removeprefix(str(driver.saga_id)) for call in provider.calls()]
    assert keys[-1] == ":capture_payment:do:1:close:1"
    assert driver.operation("void").idempotency_key.endswith(":capture_payment:do:1:close:1")


# -- a hold that is gone -------------------------------------------------------------------------


def test_a_hold_that_the_bank_let_go_is_a_no_that_is_made_final(provider):
    driver = to_capture(Driver())
    lose_the_hold(provider, driver)

    with pytest.raises(Rejected, match="hold_gone"):
        driver.capture()

    assert provider.intent(driver.payment.provider_ref)["status"] == "canceled"
    assert driver.money == ("voided", 1000, 0, 1000)
    assert driver.operations()[2:] == [("capture", "declined"), ("void", "succeeded")]
    assert driver.operation("capture").decline_code == "hold_gone"
    assert sent(provider, "capture") == [("0", 409, False)]
    driver.void()
    driver.close()
    assert driver.events() == ["PaymentAuthorized", "PaymentVoided"]


@pytest.mark.parametrize("wrong", ["error_before", "error_after", "drop_after"])
def test_a_hold_that_is_gone_stays_a_no_while_it_cannot_be_made_final(provider, wrong):
    driver = to_capture(Driver())
    lose_the_hold(provider, driver)
    provider.fault(wrong, operation="cancel")

    with pytest.raises(Unknown):
        driver.capture()
    with pytest.raises(Rejected):
        driver.capture()

    assert {key for key, _, _ in sent(provider, "capture")} == {"0"}
    assert provider.executed("capture") == 0
    assert provider.executed("cancel") == 1
    assert driver.money == ("voided", 1000, 0, 1000)


# -- the commit that counts the no ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "after", "keys"),
    [
        # The no is told again, counted, and only then has a successor.
        ("negative.before_commit", 0, ["0", "0", "0", "1"]),
        ("negative.committed", 1, ["0", "0", "1"]),
    ],
)
def test_whoever_dies_around_the_count_leaves_the_right_key(
    provider, fail_at, monkeypatch, place, after, keys
):
    driver = to_capture(Driver())
    provider.fault("refuse", operation="capture")
    with pytest.raises(ProviderDefect):
        driver.capture()
    fail_at(f"{place}/capture_payment")
    with pytest.raises(FailpointHit):
        driver.capture()
    monkeypatch.delenv("CONCORD_FAILPOINTS")
    assert driver.operation("capture").negatives == after

    if after == 0:
        with pytest.raises(ProviderRefusal):
            driver.capture()
    driver.capture()

    assert [key for key, _, _ in sent(provider, "capture")] == keys
    assert driver.money == ("captured", 1000, 1000, 0)
