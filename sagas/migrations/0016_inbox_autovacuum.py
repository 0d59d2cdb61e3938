from django.db import migrations

from sagas.models.vacuuming import vacuum_often


class Migration(migrations.Migration):
    """The engine's own inbox and positions, used where contexts are detached."""

    dependencies = [("sagas", "0015_read_models")]

    operations = [vacuum_often("sagas", outbox=False)]
