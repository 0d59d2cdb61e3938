import re
from pathlib import Path

import psycopg
import pytest
from django.conf import settings
from django.db import connection, connections

from config import audit, roles
from config.audit.files import is_derived
from config.audit.uniting import is_needed
from sagas.transactions import connection_of

pytestmark = pytest.mark.django_db

DOCUMENT = Path(settings.BASE_DIR / "docs" / "audit-views.md")


def documented():
    views = {}
    for section in re.split(r"^### ", DOCUMENT.read_text(), flags=re.MULTILINE)[1:]:
        name = section.split()[0].strip("`")
        views[name] = re.findall(r"^\| `(\w+)` \| ([^|]+?) \|", section, flags=re.MULTILINE)
    return views


def installed():
    """The views of all databases, each once."""
    found = {}
    for alias in connections:
        found |= installed_in(connections[alias])
    return dict(sorted(found.items()))


def expected():
    """The views there are: made of two databases there are none."""
    return [name for name in audit.view_names() if not (is_needed() and is_derived(name))]


def home_of(view):
    return next(c for c in map(connections.__getitem__, connections) if view in installed_in(c))


def installed_in(connection):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod)"
            " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0"
            " WHERE n.nspname = 'audit' AND c.relkind = 'v' ORDER BY c.relname, a.attnum"
        )
        views = {}
        for view, column, kind in cursor.fetchall():
            views.setdefault(view, []).append((column, kind))
    return views


def rights():
    with connection.cursor() as cursor:
        cursor.execute("SELECT relname, relacl::text FROM pg_class WHERE relname ~ '^v_'")
        return dict(cursor.fetchall())


def test_the_document_names_every_column_of_every_view_with_its_type():
    assert installed() == {name: documented()[name] for name in sorted(expected())}


def test_every_view_has_a_file_and_every_file_is_a_view():
    assert sorted(installed()) == expected()


@pytest.mark.parametrize("view", expected())
def test_every_column_can_be_selected_by_the_audit_role(view):
    columns = ", ".join(name for name, _ in documented()[view])
    connection = home_of(view)
    with connection.cursor() as cursor:
        role = roles.role_of(connection, "audit")
        cursor.execute(f"SET LOCAL ROLE {connection.ops.quote_name(role)}")

        cursor.execute(f"SELECT {columns} FROM audit.{view}")

        assert [column.name for column in cursor.description] == columns.split(", ")


def test_the_audit_role_sees_no_table_and_changes_nothing():
    connection = connection_of("orders")
    role = connection.ops.quote_name(roles.role_of(connection, "audit"))
    with psycopg.connect(**connection.get_connection_params()) as session:
        session.execute(f"SET ROLE {role}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege), session.transaction():
            session.execute("SELECT 1 FROM orders.orders_order")
        with pytest.raises(psycopg.errors.InsufficientPrivilege), session.transaction():
            session.execute("DELETE FROM audit.v_orders")


def test_installing_again_gives_the_same_views_and_the_same_rights():
    before = installed()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, relacl::text FROM pg_class WHERE relname ~ '^v_' ORDER BY 1"
        )
        rights = cursor.fetchall()

    audit.install(connection)

    assert installed() == before
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, relacl::text FROM pg_class WHERE relname ~ '^v_' ORDER BY 1"
        )
        assert cursor.fetchall() == rights


def test_a_view_whose_table_is_gone_is_left_out_and_named(caplog):
    connection = connection_of("payments")
    with connection.cursor() as cursor:
        cursor.execute("DROP VIEW audit.v_webhooks")
        cursor.execute("ALTER TABLE payments.payments_webhookevent RENAME TO elsewhere")

    audit.install(connection)

    assert "v_webhooks" not in installed()
    assert "v_webhooks is left out" in caplog.text


def test_the_views_stand_while_nothing_is_to_be_migrated_and_go_before_a_migration():
    connection = connection_of("orders")
    before = installed_in(connection)
    audit.drop_before_migrating(connection)
    assert installed_in(connection) == before

    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'orders'")
    audit.drop_before_migrating(connection)

    assert installed_in(connection) == {}
