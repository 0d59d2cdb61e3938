from django.db import migrations

from sagas.models.vacuuming import vacuum_often


class Migration(migrations.Migration):
    """Rows come and go here: each table is vacuumed long before a fifth of it is dead."""

    dependencies = [("payments", "0012_outside")]

    operations = [vacuum_often("payments")]
