"""A replay with real processes: killed, taken up, repeated; and without anybody at work."""

import json
import os
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from django.core.management import call_command

from tests.databases import by_itself
from tests.processes import ROOT, eventually, process_environment
from tests.workers.shop import one, rows, wait_for_rest

pytestmark = pytest.mark.timeout(240)

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
INVOICES = 30


@pytest.fixture
def running(processes):
    processes.provider()
    processes.beat()
    processes.worker()
    return processes


@pytest.fixture(scope="module")
def sales(tmp_path_factory) -> Path:
    """Thirty invoices of seven customers, and everything that spoils a file."""
    lines = [HEADER]
    for number in range(INVOICES):
        lines += [
            f"5000{number:02d},{sku},The {sku},{quantity},{day(number)},{price},{buyer(number)},UK"
            for sku, quantity, price in goods(number)
        ]
    lines[10:10] = [
        "500002,BROKEN",
        "500002,A1,The A1,many,2010-12-03 10:00:00,1.00,7002,UK",
        '500002,A1,"never closed,1,2010-12-03 10:00:00,1.00,7002,UK',
        "C00001,A1,The A1,-2,2010-12-03 11:00:00,1.255,7001,UK",
        "C00001,B2,The B2,-1,2010-12-03 11:00:00,3.00,7001,UK",
        "C00002,A1,The A1,-1,2010-12-03 12:00:00,1.00,7002,UK",
        "600001,A1,The A1,1,2010-12-03 12:00:00,1.00,,UK",
        "600002,A1,The A1,1,2010-12-03 12:00:00,0.00,7001,UK",
        "600003,A1,The A1,1,2010-12-03 12:00:00,0.001,7001,UK",
    ]
    file = tmp_path_factory.mktemp("replay") / "sales.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


def goods(number):
    """Repeated items, half pennies, and prices below a penny."""
    return [
        ("A1", number + 1, "2.55"),
        ("B2", 3, "0.125"),
        ("A1", 1, "2.675"),
        ("C3", 7, "0.001"),
    ]


def pence(number):
    """Worked out by hand: 0.375, 2.675 and 0.007 pounds are 38, 268 and 1 penny."""
    return 255 * (number + 1) + 38 + 268 + 1


def day(number):
    return f"2010-12-{1 + number // 5:02d} 08:26:00"


def buyer(number):
    return 7000 + number % 7


EXPECTED = {
    "sale_invoices": INVOICES,
    "sale_lines": INVOICES * 4,
    "sales_minor": sum(map(pence, range(INVOICES))),
    "customers": 7,
    "cancellation_documents": 2,
    "cancellation_lines": 3,
    "cancellations_minor": -251 - 300 - 100,
    "captured_minor": sum(map(pence, range(INVOICES))),
    "provider_captured_minor": sum(map(pence, range(INVOICES))),
    "invoiced_minor": sum(map(pence, range(INVOICES))),
    "refunded_minor": 0,
    "ledger_balanced": True,
    "orders": {"confirmed": INVOICES},
    "differences": [],
    "left_out": {"without a customer": 1, "without a price": 1},
}


def replay(file, *options, check=0, env=None):
    """Run the command as a process and return its document and what it said."""
    ended = subprocess.run(
        [sys.executable, "manage.py", "replay", str(file), "--json", *options],
        cwd=ROOT,
        env={**os.environ, **process_environment(), **(env or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == check, ended.stdout[-2000:] + ended.stderr[-3000:]
    return (json.loads(ended.stdout) if ended.stdout else None), ended.stderr


def told(document):
    return {name: document[name] for name in EXPECTED}


def placed():
    return one("SELECT count(*) FROM orders_order")


def test_a_replay_that_is_killed_goes_on_and_another_adds_nothing(running, sales):
    command = ["manage.py", "replay", str(sales), "--json", "--in-flight", "2"]
    killed = running._start("replay", command, {"CONCORD_FAILPOINTS": "start.committed=kill:9"})
    assert eventually(killed.process.poll, 60, "it is killed") == -signal.SIGKILL, killed.output()
    assert 8 <= placed() < INVOICES

    document, said = replay(sales)

    assert told(document) == EXPECTED
    assert [skipped["line"] for skipped in document["skipped"]] == [11, 12, 13, 19]
    assert "line 12 has the quantity 'many'" in said
    assert "30 of 30 orders" in said
    before = everything()

    again, _ = replay(sales)

    assert told(again) == EXPECTED
    assert everything() == before
    wait_for_rest()
    call_command("invariants", at_rest=True)


def everything():
    return {
        table: one(f"SELECT count(*) FROM {table}")
        for table in (
            "orders_customer",
            "orders_order",
            "orders_sku",
            "orders_stockmovement",
            "payments_payment",
            "payments_paymentmethod",
            "billing_invoice",
            "billing_journalentry",
        )
    }


def test_orders_keep_what_the_file_says_and_the_stock_ends_at_nothing(running, sales):
    replay(sales)

    assert rows(
        "SELECT o.business_date::text, c.reference, l.position, l.sku_code, l.quantity,"
        " l.unit_price, l.line_total FROM orders_order o JOIN orders_customer c"
        " ON c.id = o.customer_id JOIN orders_orderline l ON l.order_id = o.id"
        " WHERE o.reference = '500007' ORDER BY l.position"
    ) == [
        ("2010-12-02", "7000", 1, "A1", 8, 255, 2040),
        ("2010-12-02", "7000", 2, "B2", 3, 12.5, 38),
        ("2010-12-02", "7000", 3, "A1", 1, 267.5, 268),
        ("2010-12-02", "7000", 4, "C3", 7, Decimal("0.1"), 1),
    ]
    assert rows("SELECT sku, on_hand, reserved FROM orders_stocklevel ORDER BY sku") == [
        ("A1", 0, 0),
        ("B2", 0, 0),
        ("C3", 0, 0),
    ]


def test_a_replay_until_a_day_is_gone_on_with_to_a_later_one(running, sales):
    part, _ = replay(sales, "--until", "2010-12-02")
    assert (part["sale_invoices"], part["orders"]) == (10, {"confirmed": 10})

    whole, _ = replay(sales)

    assert told(whole) == EXPECTED
    assert one("SELECT sum(on_hand) FROM orders_stocklevel") == 0


def test_a_book_that_differs_is_named_and_the_command_leaves_with_one(running, sales):
    replay(sales)
    rows(
        by_itself(
            "WITH moved AS (UPDATE payments_payment SET captured = captured - 1, voided = 1"
            " WHERE purpose_id = (SELECT id FROM orders_order WHERE reference = '500003')"
            " RETURNING 1) SELECT count(*) FROM moved"
        )
    )

    document, _ = replay(sales, check=1)

    assert document["captured_minor"] == EXPECTED["captured_minor"] - 1
    assert document["differences"] == ["500003: the file has 1327, the payment has 1326"]


def test_without_a_worker_the_replay_says_what_to_start(processes, sales):
    processes.provider()

    document, said = replay(sales, "--patience", "2", check=1)

    assert document is None
    assert "no worker takes the sagas" in said
    assert "manage.py up" in said


def test_without_a_provider_the_replay_does_not_begin(processes, sales):
    document, said = replay(sales, check=1, env={"PAYMENT_PROVIDER_URL": "http://127.0.0.1:9"})

    assert document is None
    assert "the payment provider is silent" in said
    assert placed() == 0
