import os
import subprocess
import sys

import pytest

from tests.integration.simulator.world import ROOT

GOOD = {"amount": 1, "currency": "GBP", "payment_method": "card_good", "reference": "r"}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"amount": 0}, "invalid_amount"),
        ({"amount": -5}, "invalid_amount"),
        ({"amount": 1.5}, "invalid_amount"),
        ({"amount": True}, "invalid_amount"),
        ({"amount": "1"}, "invalid_amount"),
        ({"amount": 10**13}, "invalid_amount"),
        ({"currency": "gbp"}, "invalid_currency"),
        ({"currency": None}, "invalid_currency"),
        ({"reference": ""}, "invalid_reference"),
        ({"reference": "x" * 201}, "invalid_reference"),
        ({"reference": "nul\0"}, "invalid_text"),
        ({"metadata": {"a": 1}}, "invalid_metadata"),
        ({"metadata": {"\0": "a"}}, "invalid_text"),
        ({"metadata": []}, "invalid_metadata"),
        ({"payment_method": ["card_good"]}, "invalid_payment_method"),
        ({"surprise": 1}, "unknown_parameter"),
    ],
)
def test_bad_input_is_refused_with_a_reason(provider, change, code):
    answer = provider.post("/v1/intents", {**GOOD, **change})

    assert (answer.status, answer.code) == (400, code)
    assert answer.body["error"]["message"]
    assert provider.get("/v1/intents").body["data"] == []


@pytest.mark.parametrize("raw", [b"{", b"[]", b"7", b"\xff", b"[" * 30_000])
def test_a_body_that_is_no_object_is_refused(provider, raw):
    answer = provider.post("/v1/intents", raw=raw)

    assert (answer.status, answer.code) == (400, "invalid_json")


def test_a_lone_surrogate_is_refused(provider):
    answer = provider.post(
        "/v1/intents",
        raw=b'{"amount":1,"currency":"GBP","payment_method":"card_good","reference":"\\ud800"}',
    )

    assert (answer.status, answer.code) == (400, "invalid_text")


def test_a_large_body_is_refused(provider):
    answer = provider.post("/v1/intents", {**GOOD, "reference": "x" * 70_000})

    assert (answer.status, answer.code) == (413, "body_too_large")


@pytest.mark.parametrize("token", ["", "wrong"])
def test_nobody_gets_in_without_the_key(provider, token):
    answers = [
        provider.post("/v1/intents", GOOD, token=token),
        provider.get("/v1/balance", token=token),
        provider.post("/control/reset", token=token),
    ]

    assert {(answer.status, answer.code) for answer in answers} == {(401, "invalid_key")}


def test_what_is_not_there_is_not_found(provider):
    assert provider.get("/v1/intents/in_none").code == "unknown_intent"
    assert provider.post("/v1/intents/in_none/capture").code == "unknown_intent"
    assert provider.get("/v1/nothing").code == "unknown_address"
    assert provider.get("/v1/intents?after=in_none").code == "unknown_intent"
    assert provider.get("/v1/intents?limit=0").code == "invalid_limit"


def test_the_provider_says_that_it_is_well(provider):
    assert provider.get("/healthz", token="").body == {"status": "ok"}


def test_connections_are_kept_open(provider):
    before = provider.pool.connection_from_url(provider.url).num_connections
    for _ in range(5):
        provider.get("/healthz")

    assert provider.pool.connection_from_url(provider.url).num_connections == before


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "payments.simulator", *arguments],
        cwd=ROOT,
        env={**os.environ, "SIMULATOR_DATABASE_URL": "", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_command_explains_itself():
    told = run("--help")

    assert told.returncode == 0
    assert "--port" in told.stdout
    assert "--database-url" in told.stdout


def test_without_a_database_the_command_says_so():
    told = run()

    assert told.returncode == 2
    assert "SIMULATOR_DATABASE_URL" in told.stderr


def test_a_database_that_does_not_come_up_is_waited_for_and_then_told():
    told = run("--wait", "0.5", "--database-url", "postgresql://nobody@127.0.0.1:1/none")

    assert told.returncode == 1
    assert "provider:" in told.stderr
