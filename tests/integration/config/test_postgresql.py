import pytest
from django.conf import settings
from django.db import ProgrammingError, connection, models, transaction
from django.test.utils import isolate_apps

pytestmark = pytest.mark.django_db


def schema_of(table):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.relname = %s",
            [table],
        )
        return [row[0] for row in cursor.fetchall()]


def search_path():
    with connection.cursor() as cursor:
        cursor.execute("SHOW search_path")
        return cursor.fetchone()[0].replace('"', "")


@pytest.fixture
def shelf():
    """Two models of one app with everything that makes a table of its own, not yet created."""
    with isolate_apps("sagas"):

        class Label(models.Model):
            text = models.CharField(max_length=5, unique=True)

            class Meta:
                app_label = "sagas"
                db_table = "probe_label"

        class Shelf(models.Model):
            code = models.CharField(max_length=5, db_index=True)
            labels = models.ManyToManyField(Label, db_table="probe_shelf_labels")
            parent = models.ForeignKey("self", models.CASCADE, null=True)

            class Meta:
                app_label = "sagas"
                db_table = "probe_shelf"
                constraints = (
                    models.CheckConstraint(condition=~models.Q(code=""), name="probe_code"),
                )

        yield Shelf, Label


@pytest.fixture
def created(shelf):
    with connection.schema_editor() as editor:
        for model in reversed(shelf):
            editor.create_model(model)
    return shelf


def test_a_table_its_sequence_its_indexes_and_its_many_to_many_table_are_in_the_apps_schema(
    created,
):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT n.nspname FROM pg_class c JOIN pg_namespace n"
            " ON n.oid = c.relnamespace WHERE c.relname LIKE 'probe_%%'"
        )
        assert cursor.fetchall() == [("sagas",)]
    assert schema_of("probe_shelf_labels") == ["sagas"]


def test_the_search_path_is_as_before_afterwards(created):
    assert search_path() == ", ".join(settings.SEARCH_PATH)


def test_a_table_that_cannot_be_made_leaves_the_search_path_as_it_was(created):
    with (
        pytest.raises(ProgrammingError),
        transaction.atomic(),  # noqa: TID251 - the schema editor joins it, as in a migration
        connection.schema_editor() as editor,
    ):
        editor.create_model(created[0])

    assert search_path() == ", ".join(settings.SEARCH_PATH)


def test_introspection_and_therefore_the_flush_see_the_tables(created):
    assert {"probe_shelf", "probe_shelf_labels"} <= set(connection.introspection.table_names())


def test_rows_and_relations_work_without_naming_the_schema(created):
    shelf_model, label_model = created
    shelf = shelf_model.objects.create(code="a")
    shelf.labels.add(label_model.objects.create(text="x"))

    assert shelf_model.objects.get(labels__text="x") == shelf


def test_a_table_is_altered_where_it_is(created):
    shelf_model, _ = created
    field = models.IntegerField(default=0, db_index=True)
    field.set_attributes_from_name("weight")
    field.model = shelf_model

    with connection.schema_editor() as editor:
        editor.add_field(shelf_model, field)
        editor.remove_field(shelf_model, field)
        editor.remove_constraint(shelf_model, shelf_model._meta.constraints[0])
        editor.alter_db_table(shelf_model, "probe_shelf", "probe_rack")

    assert schema_of("probe_rack") == ["sagas"]


def test_a_table_of_django_stays_in_public():
    assert schema_of("django_migrations") == ["public"]
    assert schema_of("auth_user") == ["public"]
