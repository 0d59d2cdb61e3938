"""Who publishes events to the outside."""

import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    """Makes the table of its one row."""

    dependencies = [("sagas", "0012_heartbeat")]

    operations = [
        migrations.CreateModel(
            name="OutsideLease",
            fields=[
                ("id", models.SmallIntegerField(primary_key=True, serialize=False)),
                (
                    "leased_until",
                    models.DateTimeField(
                        help_text="Or, after a failure, not to be tried before."
                    ),
                ),
                (
                    "failures",
                    models.IntegerField(db_default=0, default=0, help_text="In a row."),
                ),
                ("error", models.TextField(db_default="", default="")),
                (
                    "changed_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now()
                    ),
                ),
            ],
        ),
    ]
