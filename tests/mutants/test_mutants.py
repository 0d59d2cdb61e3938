"""Each guard is taken out in turn, and a named test has to notice.

    python3 manage.py test tests/mutants -m long                # every guard
    python3 manage.py test tests/mutants -m long -k _COMPENSATE --write
    python3 manage.py test tests/mutants -m long --write --missing

``--write`` keeps what was found in docs/mutants.md; with ``--missing`` only those are taken out of
which nothing is kept.
"""

import contextlib
import os
import re
import subprocess
import sys
import time
from urllib.parse import quote

import pytest
from django.conf import settings
from django.db import connection, connections

from tests.architecture.source import ROOT
from tests.mutants import document, table

MUTANTS = table.mutants()
FAILED = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", re.MULTILINE)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", MUTANTS)
def test_without_its_guard_a_test_goes_red(name, request, committed_db):
    mutant = MUTANTS[name]
    if request.config.getoption("--missing") and is_kept(name):
        pytest.skip("is in the document")
    began = time.monotonic()
    with dropped(mutant):
        done = run_without(mutant)
    seconds = time.monotonic() - began
    failed = FAILED.findall(done.stdout)
    if request.config.getoption("--write"):
        document.write(name, failed[0] if failed else "", seconds)
    assert done.returncode in {0, 1}, done.stdout[-3000:]
    assert failed or mutant.beside, f"nobody notices: {done.stdout[-3000:]}"


def is_kept(name):
    return document.rows().get(name, (document.NOT_YET, ""))[0] != document.NOT_YET


@contextlib.contextmanager
def dropped(mutant):
    """Drop the rule of the database, if the guard is one, and put it back."""
    with connection.cursor() as cursor:
        definitions = [_definition(cursor, *rule) for rule in mutant.rules]
        for table_, rule, definition in definitions:
            cursor.execute(_drop(table_, rule, definition))
        connections.close_all()
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            for table_, rule, definition in definitions:
                again = f"ALTER TABLE {table_} ADD CONSTRAINT {rule} {definition}"
                cursor.execute(definition if definition.startswith("CREATE") else again)


def _drop(table_, rule, definition):
    if definition.startswith("CREATE UNIQUE INDEX"):  # a rule that holds for some rows only
        return f"DROP INDEX {rule}"
    if definition.startswith("CREATE"):
        return f"DROP TRIGGER {rule} ON {table_}"
    return f"ALTER TABLE {table_} DROP CONSTRAINT {rule}"


def _definition(cursor, table_, rule):
    cursor.execute(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = %(rule)s"
        " UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger"
        " WHERE tgname = %(rule)s AND tgrelid = %(table)s::regclass"
        " UNION ALL SELECT pg_get_indexdef(i.indexrelid) FROM pg_index i"
        " JOIN pg_class c ON c.oid = i.indexrelid"
        " WHERE c.relname = %(rule)s AND i.indpred IS NOT NULL",
        {"rule": rule, "table": table_},
    )
    [(definition,)] = cursor.fetchall()
    return table_, rule, definition


def run_without(mutant):
    """Run the tests that have to notice, in a process whose engine has not got the guard."""
    asked = [path for path in mutant.asked if (ROOT / path).exists()]
    command = [sys.executable, "-m", "pytest", "-c", "tests/pytest.ini", "--rootdir=.", "-x", "-q"]
    options = ["-p", "tests.mutants.taken_out", "--tb=no", "--show-capture=no"]
    parameters = connection.get_connection_params()
    database = "postgresql://{user}@/{dbname}?host={host}".format(
        **{name: quote(str(value), safe="") for name, value in parameters.items()}
    )
    return subprocess.run(
        [*command, *options, *asked],
        cwd=ROOT,
        env={
            **os.environ,
            "MUTANT": mutant.name,
            "DATABASE_URL": database,
            "REDIS_URL": settings.REDIS_URL,
        },
        capture_output=True,
        text=True,
        check=False,
    )
