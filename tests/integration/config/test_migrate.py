import os
import subprocess
import sys

import psycopg
import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection

from config import roles
from tests.processes import ROOT, test_database_url

pytestmark = pytest.mark.django_db


def asked(statement, *parameters):
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall()


def test_the_suite_runs_on_a_database_of_its_own():
    assert asked("SELECT current_database()")[0][0].startswith("test_")


def test_every_schema_is_there():
    found = {row[0] for row in asked("SELECT nspname FROM pg_namespace")}

    assert set(settings.SEARCH_PATH) <= found


def test_a_new_session_finds_every_schema_and_has_its_limits():
    with psycopg.connect(test_database_url()) as session:
        path = session.execute("SHOW search_path").fetchone()[0]
        limits = {
            name: session.execute(
                "SELECT setting::float / 1000 FROM pg_settings WHERE name = %s", [name]
            ).fetchone()[0]
            for name in settings.SESSION_LIMITS
        }

    assert path.replace('"', "") == ", ".join(settings.SEARCH_PATH)
    assert limits == settings.SESSION_LIMITS


def test_every_context_has_a_role_that_nobody_can_log_in_with():
    names = [roles.role_of(connection, context) for context in (*settings.SCHEMAS, "audit")]

    found = asked("SELECT rolname, rolcanlogin FROM pg_roles WHERE rolname = ANY(%s)", names)

    assert sorted(found) == sorted((name, False) for name in names)


def test_migrating_again_changes_nothing_and_says_nothing(capsys):
    call_command("migrate", verbosity=0, interactive=False)

    assert capsys.readouterr() == ("", "")


def test_a_plan_is_shown_without_touching_the_database(capsys, django_assert_max_num_queries):
    call_command("migrate", plan=True)

    assert "No planned migration operations" in capsys.readouterr().out


@pytest.mark.parametrize("context", sorted(settings.SCHEMAS))
def test_a_context_role_may_touch_its_own_tables_and_those_of_the_engine_alone(context):
    role = roles.role_of(connection, context)
    allowed = {settings.SCHEMAS[context], settings.SCHEMAS["sagas"]}

    tables = asked(
        "SELECT n.nspname, c.relname, has_table_privilege(%s, c.oid, 'INSERT')"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind IN ('r', 'p') AND n.nspname = ANY(%s)"
        # Other tests keep what they count in tables that everybody may use.
        " AND NOT (n.nspname = 'public' AND c.relname ~ '^(trial_effect|met|bench_.*)$')",
        role,
        list(settings.SEARCH_PATH),
    )

    assert {schema for schema, _, may in tables if may} <= allowed
    assert [table for schema, table, may in tables if schema in allowed and not may] == []


def test_what_a_context_role_may_do_the_login_role_may_do_as_well():
    # So what is not refused to a role is not refused without CONTEXT_ROLES either.
    others = asked(
        "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = ANY(%s)"
        " AND (c.relowner <> current_user::regrole OR c.relrowsecurity OR c.relforcerowsecurity)",
        list(settings.SEARCH_PATH),
    )

    assert others == []


def test_from_a_terminal_every_database_is_checked_before_it_is_migrated():
    done = subprocess.run(
        [sys.executable, "manage.py", "migrate", "--check"],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": test_database_url()},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
