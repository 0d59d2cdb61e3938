"""The operators' timeline."""

from django.db import migrations, models


def say_that_it_is_not_built(apps, schema_editor):
    """Let it count as out of date where events have been applied that are not in it."""
    alias = schema_editor.connection.alias
    if apps.get_model("orders", "Position").objects.using(alias).exists():
        apps.get_model("orders", "Projection").objects.using(alias).create(
            name="orders.timeline", version=0
        )


class Migration(migrations.Migration):
    """Makes the table; a rebuild fills it with what was told before."""

    dependencies = [("orders", "0016_stream")]

    operations = [
        migrations.CreateModel(
            name="Timeline",
            fields=[
                (
                    "seen",
                    models.JSONField(
                        default=dict,
                        help_text="Number of the last event of each stream that is in the row.",
                    ),
                ),
                ("event_id", models.UUIDField(primary_key=True, serialize=False)),
                ("correlation_id", models.TextField()),
                ("causation_id", models.TextField(null=True)),
                (
                    "at",
                    models.DateTimeField(
                        help_text="When it was written, by the database's clock."
                    ),
                ),
                ("context", models.TextField()),
                ("name", models.TextField()),
                ("version", models.PositiveIntegerField()),
                ("aggregate_type", models.TextField()),
                ("aggregate_id", models.UUIDField()),
                ("sequence", models.BigIntegerField()),
                ("actor", models.TextField(null=True)),
                ("sentence", models.TextField(help_text="What it says, in words.")),
            ],
            options={
                "abstract": False,
                "indexes": [
                    models.Index(
                        fields=["correlation_id", "at"], name="orders_timeline_click"
                    )
                ],
            },
        ),
        migrations.RunPython(say_that_it_is_not_built, migrations.RunPython.noop),
    ]
