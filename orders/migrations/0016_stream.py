"""What has still to get into the stream, and who brings it there."""

from django.db import migrations, models

from sagas.models.vacuuming import vacuum_queue


class Migration(migrations.Migration):
    """Makes both tables; what is there already is not due."""

    dependencies = [("orders", "0015_actor")]

    operations = [
        migrations.CreateModel(
            name="StreamDue",
            fields=[
                (
                    "position",
                    models.BigIntegerField(
                        help_text="Of the event in the outbox.", primary_key=True, serialize=False
                    ),
                ),
            ],
            options={
                "verbose_name": "event for the stream",
                "verbose_name_plural": "events for the stream",
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="StreamLease",
            fields=[
                ("id", models.SmallIntegerField(primary_key=True, serialize=False)),
                (
                    "leased_until",
                    models.DateTimeField(help_text="Or, after a failure, not to be tried before."),
                ),
                ("failures", models.IntegerField(db_default=0, default=0, help_text="In a row.")),
                ("error", models.TextField(db_default="", default="")),
            ],
            options={"abstract": False},
        ),
        vacuum_queue("orders"),
    ]
