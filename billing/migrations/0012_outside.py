"""The mark of its own that an event has for the outside."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Adds it; what is there already is not due."""

    dependencies = [("billing", "0010_history")]

    operations = [
        migrations.AddField(
            model_name="outbox",
            name="outside_due",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="It has still to be published to the outside.",
            ),
        ),
        migrations.AddField(
            model_name="outbox",
            name="outside_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddIndex(
            model_name="outbox",
            index=models.Index(
                condition=models.Q(("outside_due", True)),
                fields=["position"],
                name="billing_outbox_outside",
            ),
        ),
    ]
