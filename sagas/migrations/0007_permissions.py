from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('sagas', '0006_messaging'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='deadletter',
            options={'permissions': (('resend_deadletter', 'Can resend dead letters'), ('discard_deadletter', 'Can discard dead letters'))},
        ),
        migrations.AlterModelOptions(
            name='sagainstance',
            options={'permissions': (('resume_saga', 'Can resume parked sagas'), ('compensate_saga', 'Can start the compensation of a saga'), ('skip_saga', 'Can settle a step of a parked saga by hand')), 'verbose_name': 'saga'},
        ),
    ]
