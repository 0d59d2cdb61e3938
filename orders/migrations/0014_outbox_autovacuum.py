from django.db import migrations

from sagas.models.vacuuming import vacuum_often


class Migration(migrations.Migration):
    """Rows come and go here: each table is vacuumed long before a fifth of it is dead."""

    dependencies = [("orders", "0013_read_models")]

    operations = [vacuum_often("orders")]
