import django.db.models.functions.datetime
from django.db import migrations, models

import sagas.ids


class Migration(migrations.Migration):
    """Messages that no worker could read are kept."""

    dependencies = [("sagas", "0016_inbox_autovacuum")]

    operations = [
        migrations.CreateModel(
            name="UnreadableMessage",
            fields=[
                ("id", models.UUIDField(default=sagas.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("digest", models.BinaryField(help_text="Of queue, reason and body; equal ones are one row.")),
                ("queue", models.TextField(help_text="Where it was taken from.")),
                ("reason", models.TextField()),
                ("content_type", models.TextField()),
                ("content_encoding", models.TextField()),
                ("headers", models.TextField(help_text="As JSON, the beginning of it.")),
                ("body", models.BinaryField(help_text="The beginning of it, as it came.")),
                ("size", models.BigIntegerField(help_text="Of the whole body, in bytes.")),
                ("times", models.BigIntegerField(db_default=1, default=1)),
                ("received_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("last_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("discarded_at", models.DateTimeField(null=True)),
            ],
            options={
                "verbose_name": "unreadable message",
                "db_table": "sagas_unreadable",
                "permissions": (("discard_unreadable", "Can discard unreadable messages"),),
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("discarded_at__isnull", True)),
                        fields=("digest",),
                        name="sagas_unreadable_once",
                    )
                ],
                "indexes": [
                    models.Index(
                        condition=models.Q(("discarded_at__isnull", False)),
                        fields=["discarded_at"],
                        name="sagas_unreadable_seen",
                    )
                ],
            },
        ),
    ]
