from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('simulator', '0001_initial'),
    ]

    operations = [
        migrations.AddField(
            model_name='call',
            name='traceparent',
            field=models.CharField(db_default='', max_length=64),
        ),
    ]
