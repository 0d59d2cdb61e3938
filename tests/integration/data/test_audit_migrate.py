import pytest
from django.core.management import call_command
from django.db import connection

from config import audit


def views():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name FROM information_schema.views WHERE table_schema = 'audit'"
        )
        return sorted(name for (name,) in cursor.fetchall())


@pytest.mark.colocated
def test_migrate_makes_the_views_that_are_missing(committed_db):
    with connection.cursor() as cursor:
        cursor.execute("DROP VIEW audit.v_orders CASCADE")

    call_command("migrate", verbosity=0, interactive=False)

    assert views() == audit.view_names()
