"""The border as PostgreSQL holds it: what a context's role may not do."""

import pytest
from django.db import ProgrammingError, connection

from config import roles
from sagas.api import connection_of, transaction
from sagas.transactions import current_context, is_detached
from tests.databases import rows

REFUSED = "permission denied for table {}"


@pytest.fixture
def as_context_roles(settings):
    settings.CONTEXT_ROLES = True


def run(statement):
    with connection_of(current_context() or "sagas").cursor() as cursor:
        cursor.execute(statement)


@pytest.mark.parametrize(
    ("context", "table"),
    [
        ("billing", "orders_order"),
        ("billing", "payments_payment"),
        ("payments", "orders_order"),
        ("payments", "billing_invoice"),
        ("orders", "billing_invoice"),
        ("orders", "payments_payment"),
    ],
)
def test_a_context_is_refused_the_tables_of_another_by_name(
    context, table, committed_db, as_context_roles
):
    # A context with a database of its own does not even find it.
    refused = "does not exist" if is_detached(context) else REFUSED.format(table)

    with pytest.raises(ProgrammingError, match=refused), transaction(context):
        run(f"SELECT 1 FROM {table}")


@pytest.mark.parametrize("context", ["orders", "billing", "payments"])
def test_a_context_reaches_its_own_tables_and_the_engines(context, committed_db, as_context_roles):
    with transaction(context):
        run(f"SELECT 1 FROM {context}_outbox")
        if not is_detached(context):
            run("SELECT 1 FROM sagas_saga")


def test_the_role_ends_with_the_transaction(committed_db, as_context_roles):
    with transaction("billing"):
        pass

    rows("SELECT 1 FROM orders_order")


def test_the_role_of_the_audit_reads_nothing_but_the_views(committed_db):
    role = connection.ops.quote_name(roles.role_of(connection, "audit"))
    run(f"SET ROLE {role}")

    try:
        with pytest.raises(ProgrammingError, match="permission denied"):
            run("SELECT 1 FROM orders.orders_order")
    finally:
        run("RESET ROLE")


def test_without_the_right_to_create_roles_migrate_warns_and_goes_on(committed_db, caplog):
    run("DROP ROLE IF EXISTS concord_probe")
    run("CREATE ROLE concord_probe NOLOGIN")
    run("SET ROLE concord_probe")

    try:
        created = roles.create_roles(connection)
    finally:
        run("RESET ROLE")
        run("DROP ROLE concord_probe")

    assert created is False
    assert "the login role needs CREATEROLE" in caplog.text
