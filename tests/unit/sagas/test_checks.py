"""Settings with which nothing would be carried out are refused by `manage.py check`."""

import pytest
from django.core import checks

from sagas import checks as ours
from sagas.conf import SETTINGS


@pytest.fixture(autouse=True)
def defaults(settings):
    settings.SAGAS = {}


def found():
    return [(error.id, error.msg) for error in checks.run_checks(tags=["sagas"])]


def test_what_the_project_says_and_the_defaults_are_accepted(settings):
    assert found() == []
    settings.SAGAS = {name: setting.default for name, setting in SETTINGS.items()}
    assert found() == []
    settings.SAGAS = {name: str(setting.default) for name, setting in SETTINGS.items()}
    assert found() == []
    del settings.SAGAS
    assert found() == []


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("CLAIM_BATCH", 0, "0 must be 1 or more"),
        ("SWEEP_BATCH", 0, "0 must be 1 or more"),
        ("MAX_ATTEMPTS", 0, "0 must be 1 or more"),
        ("MAX_ATTEMPTS", 1.5, "1.5 must be a whole number"),
        ("RETENTION_DAYS", -1, "-1 must be 1 or more"),
        ("LEASE", 0, "0 must be more than 0"),
        ("LEASE", "a minute", "'a minute' is no number"),
        ("LEASE", None, "None is no number"),
        ("LEASE", float("inf"), "inf is no number"),
        ("DELAY_BASE", -1, "-1 must be 0 or more"),
    ],
)
def test_a_value_with_which_nothing_works_is_refused(settings, name, value, said):
    settings.SAGAS = {name: value}

    assert found() == [("sagas.E005", f"SAGAS[{name!r}] = {said}")]


@pytest.mark.parametrize("name", ["TIME_SLICE", "HINT_GRACE", "DELAY_BASE", "EVERY_STEP_TO_DISK"])
def test_some_may_be_nothing(settings, name):
    settings.SAGAS = {name: 0}

    assert found() == []


def test_a_misspelt_name_is_refused_with_the_one_that_was_meant(settings):
    settings.SAGAS = {"LEAES": 30}

    [error] = ours.check_settings()
    assert (error.id, error.msg) == ("sagas.E004", "SAGAS['LEAES'] is no setting")
    assert error.hint == "Settings are LEASE."
    settings.SAGAS = {"LEAES": 30, "XYZ": 1}
    assert "CALL_TIMEOUT, TIME_SLICE" in ours.check_settings()[1].hint


def test_times_without_a_zone_are_refused(settings):
    settings.USE_TZ = False

    [error] = ours.check_project()
    assert (error.id, error.hint) == ("sagas.E006", "Set USE_TZ = True.")


@pytest.mark.parametrize(
    ("contexts", "said"),
    [
        (("Orders",), "CONTEXTS names 'Orders', which is no label of an app with an outbox"),
        ("orders", "CONTEXTS is a text, and not a tuple of labels"),
    ],
)
def test_contexts_that_are_none_are_refused_with_those_that_are(settings, contexts, said):
    settings.CONTEXTS = contexts

    [error] = ours.check_project()
    assert (error.id, error.msg) == ("sagas.E007", said)
    assert "CONTEXTS = ('billing', 'orders', 'payments')" in error.hint


def test_without_the_setting_every_app_with_an_outbox_is_one(settings):
    del settings.CONTEXTS

    assert ours.check_project() == []


def test_an_app_whose_tables_would_need_quotes_is_refused(settings, monkeypatch):
    monkeypatch.setattr(ours, "with_tables", lambda: ("Bakery",))
    settings.CONTEXTS = ("Bakery",)

    [error] = ours.check_project()
    assert (error.id, error.msg) == (
        "sagas.E008",
        "'Bakery' cannot be a context: the names of its tables need quotes",
    )


def test_a_context_without_a_history_is_refused_with_what_to_add(monkeypatch):
    monkeypatch.setattr(ours, "histories", lambda app: [] if app.label == "billing" else ["kept"])

    assert found() == [
        ("sagas.E012", "'billing' has an outbox and no history for what the relay takes out of it")
    ]
