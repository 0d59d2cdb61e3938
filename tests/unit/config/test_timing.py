import pytest
from django.core.exceptions import ImproperlyConfigured

from config.timing import saga_timing


@pytest.fixture(autouse=True)
def _no_timing_of_the_machine(monkeypatch):
    for name in ("SAGAS_LEASE", "SAGAS_LAESE", "SAGAS_MAX_ATTEMPTS"):
        monkeypatch.delenv(name, raising=False)


def test_the_fast_profile_waits_less_but_keeps_the_order_of_the_limits():
    fast, production = saga_timing(fast=True), saga_timing(fast=False)

    for timing in (fast, production):
        limits = [timing[n] for n in ("STEP_TIMEOUT", "HARD_LIMIT", "LEASE", "VISIBILITY")]
        assert limits == sorted(set(limits))
    assert fast["LEASE"] < production["LEASE"]


def test_a_timing_is_overridden_by_the_environment(monkeypatch):
    monkeypatch.setenv("SAGAS_LEASE", "7.5")
    monkeypatch.setenv("SAGAS_MAX_ATTEMPTS", "3")

    timing = saga_timing(fast=True)

    assert (timing["LEASE"], timing["MAX_ATTEMPTS"]) == (7.5, 3)


def test_an_unknown_timing_is_refused_with_the_name_that_was_meant(monkeypatch):
    monkeypatch.setenv("SAGAS_LAESE", "7")

    with pytest.raises(ImproperlyConfigured, match="did you mean 'SAGAS_LEASE'"):
        saga_timing(fast=True)
