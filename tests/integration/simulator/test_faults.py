import contextlib
import http.client
import select
from urllib.parse import urlsplit

import pytest
import urllib3

from tests.integration.simulator.world import KEY
from tests.processes import eventually

NO_ANSWER = (urllib3.exceptions.ReadTimeoutError, urllib3.exceptions.ProtocolError)


def no_answer(provider, path, *, key="", timeout=0.5):
    with pytest.raises(NO_ANSWER):
        provider.post(path, key=key, timeout=timeout)


def has_come(provider, operation):
    """Whoever hangs up early does not know yet that his call has arrived."""
    eventually(lambda: provider.calls(operation=operation), 30, f"the {operation}")


def test_the_first_confirm_of_this_card_hangs_without_executing(provider):
    ref = provider.prepared("card_timeout_before")

    no_answer(provider, f"/v1/intents/{ref}/confirm", key="once")
    has_come(provider, "confirm")

    assert provider.intent(ref)["status"] == "prepared"
    assert provider.post(f"/v1/intents/{ref}/confirm", key="once").status == 200


def test_the_first_capture_of_this_card_executes_and_then_hangs(provider):
    ref = provider.authorized("card_timeout_after")

    no_answer(provider, f"/v1/intents/{ref}/capture", key="once")
    eventually(lambda: provider.executed("capture"), 30, "the capture")

    assert provider.intent(ref)["status"] == "captured"
    replay = provider.post(f"/v1/intents/{ref}/capture", key="once")
    assert (replay.status, replay.headers["Idempotency-Replayed"]) == (200, "true")


def test_the_slow_card_is_slow_and_works(provider):
    ref = provider.prepared("card_slow")

    no_answer(provider, f"/v1/intents/{ref}/confirm", timeout=0.4)

    # The caller has gone, the request is executed all the same: this is the late arrival.
    eventually(lambda: provider.executed("confirm"), 30, "the slow confirm")
    assert provider.intent(ref)["status"] == "authorized"


def asked(provider, path):
    """Send a request, and read no answer."""
    line = http.client.HTTPConnection(urlsplit(provider.url).netloc)
    line.request("POST", path, headers={"Authorization": f"Bearer {KEY}"})
    return line


def test_a_call_that_hangs_holds_no_transaction_and_no_lock(provider):
    ref = provider.authorized()
    provider.fault("hang_after", operation="capture", seconds=20)

    def held():
        """Its transaction, as that of an autovacuum, is over a moment after its row is seen."""
        return provider.sql(
            """SELECT (SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND xact_start IS NOT NULL
                AND pid <> pg_backend_pid()),
                (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')"""
        )

    with contextlib.closing(asked(provider, f"/v1/intents/{ref}/capture")) as line:
        eventually(lambda: provider.executed("capture"), 10, "the capture")
        eventually(lambda: held() == [(0, 0)], 5, "no transaction is open, no lock is held")
        refund = {"intent": ref, "amount": 1, "reference": "r"}
        assert provider.post("/v1/refunds", refund).status == 200
        assert not select.select([line.sock], [], [], 0)[0], "it hangs all the while"


@pytest.mark.parametrize(
    ("action", "status"), [("drop_before", "prepared"), ("drop_after", "authorized")]
)
def test_a_connection_can_be_cut_before_and_after_the_effect(provider, action, status):
    ref = provider.prepared()
    provider.fault(action, operation="confirm", reference="order-1")

    no_answer(provider, f"/v1/intents/{ref}/confirm", timeout=5)

    assert provider.intent(ref)["status"] == status


@pytest.mark.parametrize(
    ("action", "status", "executed"),
    [("error_before", 500, 0), ("error_after", 500, 1), ("busy", 429, 0), ("decline", 402, 0)],
)
def test_a_scripted_answer(provider, action, status, executed):
    ref = provider.prepared()
    provider.fault(action, operation="confirm", reference=ref)

    answer = provider.post(f"/v1/intents/{ref}/confirm", key="once")

    assert answer.status == status
    assert provider.executed("confirm") == executed


def test_a_fault_strikes_only_the_calls_it_is_meant_for(provider):
    provider.fault("busy", operation="confirm", reference="order-7")
    provider.fault("busy", key="key-of-7")
    other = provider.prepared(reference="order-8")
    mine = provider.prepared(reference="order-7")

    assert provider.post(f"/v1/intents/{other}/confirm").status == 200
    assert provider.post(f"/v1/intents/{other}/capture", key="key-of-7").status == 429
    assert provider.post(f"/v1/intents/{mine}/confirm").status == 429
    assert provider.post(f"/v1/intents/{mine}/confirm").status == 200


def test_an_outage_lasts_until_it_is_called_off(provider):
    ref = provider.prepared()
    provider.fault("error_before", times=None)
    during = [provider.post(f"/v1/intents/{ref}/confirm").status for _ in range(3)]
    during.append(provider.get(f"/v1/intents/{ref}").status)

    called_off = provider.send("DELETE", "/control/faults")

    assert during == [500, 500, 500, 500]
    assert called_off.body == {"deleted": 1}
    assert provider.post(f"/v1/intents/{ref}/confirm").status == 200


def test_a_call_that_hangs_is_seen_in_the_log_while_it_hangs(provider):
    ref = provider.prepared(reference="order-5")
    provider.fault("hang_before", operation="confirm", reference="order-5")
    no_answer(provider, f"/v1/intents/{ref}/confirm", key="once")
    has_come(provider, "confirm")
    provider.post(f"/v1/intents/{ref}/confirm", key="once")
    provider.post(f"/v1/intents/{ref}/confirm", key="once")

    calls = provider.calls(reference="order-5", operation="confirm")

    seen = [(call["fault"], call["status"], call["executed"], call["replayed"]) for call in calls]
    assert seen == [
        ("hang_before", None, False, False),
        ("", 200, True, False),
        ("", 200, False, True),
    ]


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ({"action": "explode"}, "invalid_action"),
        ({"action": "busy", "operation": "pray"}, "invalid_operation"),
        ({"action": "busy", "times": 0}, "invalid_times"),
        ({"action": "slow", "seconds": -1}, "invalid_seconds"),
        ({"action": "busy", "reference": 7}, "invalid_reference"),
        ({"action": "busy", "colour": "red"}, "unknown_parameter"),
    ],
)
def test_nonsense_in_a_script_is_refused(provider, script, code):
    answer = provider.post("/control/faults", script)

    assert (answer.status, answer.code) == (400, code)
    assert provider.get("/control/faults").body["data"] == []
