"""Which run of its key a saga is stands in a column: a caller's key may end in # and a number, too."""

from django.db import migrations, models

# A later run began after the one before it had ended; whatever did not is a caller's own. Ended rows
# cannot be changed and need no number: nothing is told to wait for them. So only what lives is looked
# for by its key: no saga goes on meanwhile.
_NUMBER = """
WITH RECURSIVE run (number, name, base, id, finished_at) AS (
    SELECT 1, name, key, id, finished_at FROM sagas_saga
    WHERE (name, key) IN (SELECT name, regexp_replace(key, '#[0-9]+$', '') FROM sagas_saga
        WHERE finished_at IS NULL AND key ~ '#[0-9]+$')
    UNION ALL
    SELECT number + 1, run.name, base, s.id, s.finished_at FROM run JOIN sagas_saga AS s
        ON s.name = run.name AND s.key = base || '#' || (number + 1)
        AND s.started_at >= run.finished_at)
UPDATE sagas_saga AS s SET run = number FROM run WHERE s.id = run.id AND number > 1 AND s.finished_at IS NULL
"""


class Migration(migrations.Migration):

    dependencies = [
        ('sagas', '0008_rollout'),
    ]

    operations = [
        migrations.AddField(
            model_name='sagainstance',
            name='run',
            field=models.IntegerField(db_default=1, default=1, help_text='2 and more where the key is #-numbered by the engine.'),
        ),
        migrations.RunSQL(_NUMBER, migrations.RunSQL.noop),
    ]
