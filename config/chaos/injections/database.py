"""Faults of PostgreSQL."""

import os
import signal
import time
from typing import Final

import psycopg
from django.conf import settings

from config.chaos.servers import wait_for
from config.chaos.stage import Record, Stage
from sagas.transactions import alias_of

STARTED_AT: Final = b"SELECT pg_postmaster_start_time()"
EVERY: Final = 0.5
END_SOME: Final = b"""
SELECT count(pg_terminate_backend(pid)) FROM (
    SELECT pid FROM pg_stat_activity
    WHERE application_name <> 'chaos' AND backend_type = 'client backend'
        AND datname IS NOT NULL AND pid <> pg_backend_pid()
    ORDER BY random() LIMIT 3) AS picked
"""
HOLD: Final = b"SELECT 1 FROM orders_stocklevel FOR UPDATE"


def restart_database(stage: Stage, record: Record) -> None:
    """Stop it at once, as a crash does: what was under way is rolled back."""
    with stage.servers.database() as connection:
        before = connection.execute(STARTED_AT).fetchone()
    stage.strike(record)
    stage.servers.database_wanted = False
    process = stage.servers.own.processes["postgres"]
    os.kill(stage.servers.postmaster(), signal.SIGQUIT)
    wait_for(lambda: process.poll() is not None, 10)
    stage.over.wait(0.5)
    stage.servers.database_wanted = True
    stage.servers.await_database()
    record.healed = time.time()
    with stage.servers.database() as connection:
        record.facts["restarted"] = connection.execute(STARTED_AT).fetchone() != before


def end_sessions(stage: Stage, record: Record) -> None:
    """End some sessions of the product, again and again."""
    ended = 0
    until = time.monotonic() + record.injection.seconds
    with stage.servers.database() as connection:
        stage.strike(record)
        while time.monotonic() < until and not stage.over.is_set():
            row = connection.execute(END_SOME).fetchone()
            ended += int(str(row[0])) if row else 0
            stage.over.wait(EVERY)
    record.facts["ended"] = ended > 0
    record.notes["sessions_ended"] = ended
    record.healed = time.time()


def hold_rows(stage: Stage, record: Record) -> None:
    """Lock the whole stock and forget the session."""
    stage.strike(record)
    name = str(settings.DATABASES[alias_of("orders")]["NAME"])
    with stage.servers.database(name) as connection:
        try:
            with connection.transaction():
                connection.execute(HOLD)
                record.facts["held"] = True
                stage.over.wait(record.injection.seconds)
        except psycopg.Error as ended:
            record.notes["ended_by"] = str(ended).partition("\n")[0]
    record.healed = time.time()
