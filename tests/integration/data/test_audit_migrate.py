from django.core.management import call_command

from sagas.transactions import connection_of


def views():
    """Those of the database that has the orders."""
    with connection_of("orders").cursor() as cursor:
        cursor.execute(
            "SELECT table_name FROM information_schema.views WHERE table_schema = 'audit'"
        )
        return sorted(name for (name,) in cursor.fetchall())


def test_migrate_makes_the_views_that_are_missing(committed_db):
    before = views()
    with connection_of("orders").cursor() as cursor:
        cursor.execute("DROP VIEW audit.v_orders CASCADE")

    call_command("migrate", verbosity=0, interactive=False)

    assert views() == before
