"""A context moves out, with what it has: the steps of docs/detached.md."""

import json
import os
import subprocess
import sys

import pytest
from django.conf import settings

from config.binaries import postgres_binaries
from config.database import with_name
from orders.services import cancel_order
from tests.processes import ROOT, eventually, process_environment, test_database_url
from tests.workers.shop import one, open_shop, wait_for_rest

NAME = "extracted_billing"


@pytest.fixture
def address():
    """An empty database on the server of the suite."""
    url = with_name(settings.DATABASE_URL, NAME)
    administer = [tool("psql"), "-q", with_name(settings.DATABASE_URL, "postgres"), "-c"]
    subprocess.run([*administer, f"DROP DATABASE IF EXISTS {NAME}"], check=True)
    subprocess.run([*administer, f"CREATE DATABASE {NAME}"], check=True)
    yield url
    subprocess.run([*administer, f"DROP DATABASE {NAME} WITH (FORCE)"], check=True)


def tool(name):
    return str(postgres_binaries() / name)


def manage(*words, env):
    return subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=ROOT,
        env={**os.environ, **process_environment(), **env},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.long
@pytest.mark.colocated
@pytest.mark.timeout(240)
def test_a_context_moves_out_with_its_rows_and_sagas_go_on(processes, address):
    processes.provider()
    beat, worker = processes.beat(), processes.worker()
    shop = open_shop()
    shop.buy()
    wait_for_rest()
    processes.stop(beat)
    processes.stop(worker)
    under_way = shop.buy()
    detached = {"BILLING_DATABASE_URL": address}

    migrated = manage("migrate", env=detached)
    assert migrated.returncode == 0, migrated.stderr
    dump = [tool("pg_dump"), "--data-only", "--schema=billing", "--inserts"]
    rows = subprocess.run(
        [*dump, "--on-conflict-do-nothing", test_database_url()], capture_output=True, check=True
    )
    subprocess.run(
        [tool("psql"), "-q", "-1", "-v", "ON_ERROR_STOP=1", address],
        input=rows.stdout,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PGOPTIONS": "-c session_replication_role=replica"},
        check=True,
    )

    processes.beat(env=detached)
    processes.worker(env=detached)
    eventually(
        lambda: one("SELECT count(*) FROM orders_order WHERE status = 'confirmed'") == 2,
        60,
        f"{under_way.number} is confirmed",
    )
    answer = cancel_order(customer_id=shop.customer_id, order_id=under_way.id, by="customer")
    assert answer.name in {"TOO_LATE", "FINISHED"}
    told = eventually(
        lambda: quiet(manage("invariants", "--json", "--at-rest", env=detached)), 60, "all is right"
    )
    assert len(told["invariants"]) >= 10
    assert one("SELECT count(*) FROM billing_invoice") == 1, "the old table is not used any more"


def quiet(done):
    """The answer of the command, when nothing is violated."""
    return json.loads(done.stdout) if done.returncode == 0 else None
