from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    # Built beside the release that runs: no saga waits for it.
    atomic = False

    dependencies = [
        ('sagas', '0009_run'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='deadletter',
            index=models.Index(condition=models.Q(('resolved_at__isnull', True)), fields=['context'], name='sagas_deadletter_open'),
        ),
        AddIndexConcurrently(
            model_name='sagainstance',
            index=models.Index(condition=models.Q(('finished_at__isnull', False)), fields=['finished_at'], name='sagas_saga_ended'),
        ),
    ]
