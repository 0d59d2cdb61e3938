from django.db import migrations, models


class Migration(migrations.Migration):
    """What is undone of a flow is known by the names of its undos; rows stay as they are."""

    dependencies = [("sagas", "0019_flow_beginning")]

    operations = [
        migrations.AlterField(
            model_name="watchedflow",
            name="undone",
            field=models.JSONField(default=list, help_text="The undos that have run, by name."),
        ),
    ]
