import pytest

from payments.gateway import (
    IntentStatus,
    NewIntent,
    ProviderBusy,
    ProviderCall,
    ProviderDefect,
    ProviderFault,
    ProviderRefusal,
)
from payments.gateways.http import PROVIDER, HttpGateway, _Answer
from sagas.api import Postponed, Rejected, Unknown
from tests.integration.simulator.world import free_port

NEW = NewIntent(amount=1000, currency="GBP", token="card_good", reference="payment-1")


def call(key):
    return ProviderCall(key=key, correlation_id="where-it-comes-from")


def prepared(port):
    return port.prepare(NEW, call("prepare")).ref


def authorized(port):
    ref = prepared(port)
    port.confirm(ref, call("confirm"))
    return ref


def test_a_payment_goes_through(port, provider):
    opened = port.prepare(NEW, call("prepare"))
    held = port.confirm(opened.ref, call("confirm"))
    taken = port.capture(opened.ref, call("capture"))

    assert (opened.status, opened.authorized) == (IntentStatus.PREPARED, 0)
    assert (held.status, held.authorized) == (IntentStatus.AUTHORIZED, 1000)
    assert (taken.status, taken.captured) == (IntentStatus.CAPTURED, 1000)
    assert taken.reference == "payment-1"
    assert {entry["correlation_id"] for entry in provider.calls(reference="payment-1")} == {
        "where-it-comes-from"
    }


@pytest.mark.parametrize(
    ("action", "outcome"),
    [
        ("decline", Rejected),
        ("error_before", Unknown),
        ("error_after", Unknown),
        ("hang_before", Unknown),
        ("hang_after", Unknown),
        ("drop_before", Unknown),
        ("drop_after", Unknown),
        ("busy", ProviderBusy),
        ("in_progress", ProviderBusy),
    ],
)
def test_every_misfortune_of_a_capture_has_its_outcome(port, provider, action, outcome):
    ref = authorized(port)
    provider.fault(action, operation="capture")

    with pytest.raises(outcome) as raised:
        port.capture(ref, call("capture"))

    assert raised.type is outcome
    moved = 1000 if action.endswith("_after") else 0
    assert port.find(ref).captured == moved


def test_a_decline_says_why(port, provider):
    ref = prepared(port)
    provider.fault("decline", operation="confirm", code="insufficient_funds")

    with pytest.raises(Rejected) as rejected:
        port.confirm(ref, call("confirm"))

    assert rejected.value.reason == "insufficient_funds"
    assert port.find(ref).decline_code == "insufficient_funds"


def test_what_was_done_under_another_key_is_done(port):
    ref = authorized(port)
    port.capture(ref, call("one"))

    again = port.capture(ref, call("two"))
    confirmed = port.confirm(ref, call("three"))

    assert again.captured == confirmed.captured == 1000


def test_a_cancel_of_what_is_captured_is_never_nothing_to_do(port):
    ref = authorized(port)
    port.capture(ref, call("capture"))

    assert port.cancel(ref, call("cancel")).status is IntentStatus.CAPTURED


def test_after_a_cancel_the_answer_is_a_definite_no(port):
    ref = authorized(port)
    assert port.cancel(ref, call("cancel")).status is IntentStatus.CANCELED

    for send in (port.confirm, port.capture):
        with pytest.raises(Rejected) as rejected:
            send(ref, call(f"late-{send.__name__}"))
        assert rejected.value.reason == "canceled"


def test_a_capture_of_what_is_not_held_is_a_no_with_a_name_of_its_own(port):
    ref = prepared(port)

    for key in ("one", "one", "two"):
        with pytest.raises(Rejected) as rejected:
            port.capture(ref, call(key))
        assert rejected.value.reason == "hold_gone"


def answering(monkeypatch, status, body, *, replayed=False):
    """A port to a provider that says only this, or to something that stands before it."""
    port = HttpGateway(url="http://127.0.0.1", key="k", timeout=1)
    answer = _Answer(status=status, body=body, replayed=replayed)
    monkeypatch.setattr(port, "_send", lambda *_, **__: answer)
    return port


def coded(code):
    return {"error": {"code": code}}


@pytest.mark.parametrize(
    "body",
    [None, coded(""), coded("lock_timeout")],
    ids=["not json", "no code", "another lock"],
)
def test_a_409_that_is_about_no_state_is_not_taken_for_a_stored_no(monkeypatch, body):
    """It may come from a proxy, or from a lock beside the key: an earlier call may be under way."""
    port = answering(monkeypatch, 409, body)

    with pytest.raises(ProviderDefect, match="capture: 409") as no:
        port.capture("in_1", call("one"))

    assert no.type is ProviderDefect


@pytest.mark.parametrize(
    ("body", "replayed"),
    [(coded("not_captured"), False), (coded("lock_timeout"), True), (None, True)],
    ids=["about the state", "from the store", "from the store, not json"],
)
def test_a_409_about_the_state_or_out_of_the_store_is_kept_under_its_key(
    monkeypatch, body, replayed
):
    port = answering(monkeypatch, 409, body, replayed=replayed)

    with pytest.raises(ProviderRefusal, match="capture: 409"):
        port.capture("in_1", call("one"))


def test_a_key_that_is_busy_is_busy_also_out_of_the_store(monkeypatch):
    port = answering(monkeypatch, 409, coded("key_in_progress"), replayed=True)

    with pytest.raises(ProviderBusy):
        port.capture("in_1", call("one"))


def test_our_own_mistakes_are_defects_and_say_nothing_about_the_money(port, provider):
    ref = prepared(port)
    unknown_card = NewIntent(amount=1, currency="GBP", token="card_of_nobody", reference="r")
    stranger = HttpGateway(url=provider.url, key="wrong", timeout=20)

    for wrong in (
        lambda: port.prepare(unknown_card, call("card")),
        lambda: port.capture("in_none", call("none")),
        lambda: port.find("in_none"),
        lambda: port.confirm(ref, call("prepare")),
        lambda: stranger.find(ref),
    ):
        with pytest.raises(ProviderDefect):
            wrong()


def test_a_provider_that_is_not_there_is_unknown():
    nobody = HttpGateway(url=f"http://127.0.0.1:{free_port()}", key="k", timeout=1)

    with pytest.raises(Unknown):
        nobody.find("in_any")


def test_intents_are_found_by_our_name_and_listed_whole(port):
    refs = [port.prepare(NEW, call(f"prepare-{n}")).ref for n in range(3)]

    assert [intent.ref for intent in port.find_by_reference("payment-1")] == refs
    assert port.find_by_reference("payment-2") == ()
    assert [intent.ref for intent in port.list_all()] == refs
    assert [intent.ref for intent in port.list_all(after=refs[0])] == refs[1:]


def test_connections_are_kept_open(port, provider):
    port.find_by_reference("payment-1")
    pool = port._pool.connection_from_url(provider.url)
    before = pool.num_connections

    for _ in range(5):
        port.find_by_reference("payment-1")

    assert pool.num_connections == before


def test_a_fault_is_neither_a_no_nor_unknown():
    assert not issubclass(ProviderFault, Rejected | Unknown)


def test_a_provider_that_does_not_answer_is_called_once_in_a_while(port, provider, settings):
    settings.SAGAS = {**settings.SAGAS, "BREAKER_FAILURES": 3, "BREAKER_PAUSE": 30}
    PROVIDER.forget()
    ref = authorized(port)
    provider.fault("error_before", operation="capture", times=3)
    for _ in range(3):
        with pytest.raises(Unknown):
            port.capture(ref, call("capture"))
    sent = len(provider.calls())

    with pytest.raises(Postponed, match=r"payments\.provider is not called for now"):
        port.capture(ref, call("capture"))
    with pytest.raises(Postponed):
        port.find(ref)
    assert len(provider.calls()) == sent
    PROVIDER.forget()
    assert port.capture(ref, call("capture")).captured == 1000


@pytest.mark.parametrize("action", ["decline", "busy", "in_progress"])
def test_a_provider_that_says_no_answers(port, provider, settings, action):
    settings.SAGAS = {**settings.SAGAS, "BREAKER_FAILURES": 1}
    ref = authorized(port)
    provider.fault(action, operation="capture")

    with pytest.raises((Rejected, ProviderBusy)):
        port.capture(ref, call("capture"))
    assert PROVIDER.circuit().opened_at is None
