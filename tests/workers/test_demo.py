"""The demo at a running site: every kind of order ends as it should, and the reader sees it."""

import pytest
from django.contrib.auth import authenticate
from django.core.management import CommandError, call_command

from config.demo.story import KINDS
from orders.models import Order
from tests.processes import WEB_URL
from tests.workers.shop import wait_for_rest


@pytest.fixture
def running(processes):
    processes.provider()
    processes.beat()
    processes.worker()
    processes.web()
    return processes


def test_every_kind_of_order_is_placed_and_ends_as_expected(running, capsys):
    call_command("seed", customers=1, skus=2, operators=True)
    capsys.readouterr()

    call_command("demo", site=WEB_URL)

    said = capsys.readouterr().out
    assert Order.objects.count() == len(KINDS)
    for kind in KINDS:
        lines = [line for line in said.splitlines() if kind.what in line]
        assert "pending" in lines[0]
        assert lines[-1].startswith("  ok")
        assert kind.ends in lines[-1]
    assert "NOT AS EXPECTED" not in said
    assert said.count("invoice INV") == 3
    (operator,) = [line.split() for line in said.splitlines() if "  operators  " in line]
    assert operator[1] == f"{WEB_URL}/admin/"
    user = authenticate(username=operator[3].rstrip(","), password=operator[-1])
    assert user.is_staff
    wait_for_rest()
    call_command("invariants", at_rest=True)


def test_an_order_that_does_not_end_is_no_good_end(processes, capsys):
    processes.web()

    with pytest.raises(SystemExit) as left:
        call_command("demo", site=WEB_URL, patience=1.0)

    assert left.value.code == 1
    assert capsys.readouterr().out.count("not ended") == len(KINDS)


def test_without_a_site_the_demo_says_what_to_start(committed_db):
    with pytest.raises(CommandError, match=r"`manage\.py up` starts it"):
        call_command("demo", site="http://127.0.0.1:9")
