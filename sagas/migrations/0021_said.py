from django.db import migrations, models

# Who listened so far counts as heard just now.
NOW = """
UPDATE sagas_consumer SET said = (
    SELECT jsonb_object_agg(name, extract(epoch FROM clock_timestamp()))
    FROM jsonb_array_elements_text(names) AS each (name))
WHERE names <> '[]'
"""


class Migration(migrations.Migration):
    """What a consumer listens to is taken from it when no release has said so for a while."""

    dependencies = [("sagas", "0020_undone_by_name")]

    operations = [
        migrations.AddField(
            model_name="consumer",
            name="said",
            field=models.JSONField(
                db_default=models.Value({}, models.JSONField()),
                default=dict,
                help_text="When a release that runs has last said of an event that it listens to it.",
            ),
        ),
        migrations.RunSQL(NOW, migrations.RunSQL.noop),
    ]
