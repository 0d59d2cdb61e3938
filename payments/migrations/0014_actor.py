from django.db import migrations, models


class Migration(migrations.Migration):
    """Who did what an event tells of."""

    dependencies = [("payments", "0013_outbox_autovacuum")]

    operations = [
        migrations.AddField(
            model_name="outbox",
            name="actor",
            field=models.TextField(help_text="Who did it, where that is known.", null=True),
        ),
    ]
