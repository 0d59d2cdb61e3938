import pytest
from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.db import connections

pytestmark = pytest.mark.django_db


def asked(statement, *parameters):
    """What every database says: one, or in the detached mode one for each context too."""
    found = []
    for alias in connections:
        with connections[alias].cursor() as cursor:
            cursor.execute(statement, parameters)
            found += cursor.fetchall()
    return found


def schema_of_tables():
    return dict(
        asked(
            "SELECT c.relname, n.nspname FROM pg_class c JOIN pg_namespace n"
            " ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') AND n.nspname = ANY(%s)",
            list(settings.SEARCH_PATH),
        )
    )


def test_every_table_lies_in_the_schema_of_its_app():
    found = schema_of_tables()

    misplaced = {
        model._meta.db_table: found.get(model._meta.db_table)
        for model in apps.get_models(include_auto_created=True)
        if found.get(model._meta.db_table) != settings.SCHEMAS.get(model._meta.app_label, "public")
    }
    assert misplaced == {}


def test_every_table_of_an_app_begins_with_its_label():
    for label in settings.SCHEMAS:
        for model in apps.get_app_config(label).get_models(include_auto_created=True):
            assert model._meta.db_table.startswith(f"{label}_")


def test_no_foreign_key_crosses_a_border():
    crossing = asked(
        "SELECT k.conname, a.nspname, b.nspname FROM pg_constraint k"
        " JOIN pg_class t ON t.oid = k.conrelid JOIN pg_namespace a ON a.oid = t.relnamespace"
        " JOIN pg_class u ON u.oid = k.confrelid JOIN pg_namespace b ON b.oid = u.relnamespace"
        " WHERE k.contype = 'f' AND a.nspname <> b.nspname"
    )

    assert crossing == []


def test_no_relation_crosses_a_border():
    crossing = [
        str(field)
        for model in apps.get_models(include_auto_created=True)
        for field in model._meta.get_fields()
        if field.is_relation
        and field.related_model is not None
        and settings.SCHEMAS.get(model._meta.app_label)
        != settings.SCHEMAS.get(field.related_model._meta.app_label)
    ]

    assert crossing == []


def test_no_extension_is_used():
    assert set(asked("SELECT extname FROM pg_extension")) == {("plpgsql",)}


def test_no_migration_is_missing(capsys):
    call_command("makemigrations", check=True, dry_run=True, verbosity=1)

    assert "No changes detected" in capsys.readouterr().out
