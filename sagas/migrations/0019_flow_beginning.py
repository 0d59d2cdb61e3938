import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    """Where each choreography begins is written down."""

    dependencies = [("sagas", "0018_postponed")]

    operations = [
        migrations.CreateModel(
            name="FlowBeginning",
            fields=[
                ("name", models.TextField(help_text="The choreography.", primary_key=True, serialize=False)),
                (
                    "border",
                    models.BigIntegerField(
                        help_text="Last position in its producer's events that was handed out before that."
                    ),
                ),
                ("declared_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={"db_table": "sagas_flowbeginning"},
        ),
    ]
