"""The history: every event for good, beginning with what the outbox still has."""

from django.db import migrations, models

# What is not sent yet is put there by its relay.
KEEP_SENT = """
INSERT INTO orders_event (position, id, aggregatetype, aggregateid, number, type, version, payload,
    occurred_at, recorded_at, correlation_id, causation_id, traceparent)
SELECT position, id, aggregatetype, aggregateid, sequence, type, version, payload, occurred_at,
    created_at, correlation_id, causation_id, traceparent
FROM orders_outbox WHERE published_at IS NOT NULL ORDER BY position
ON CONFLICT DO NOTHING
"""


class Migration(migrations.Migration):
    dependencies = [
        ('orders', '0003_outbox_by_correlation'),
    ]

    operations = [
        migrations.CreateModel(
            name='Event',
            fields=[
                ('position', models.BigIntegerField(primary_key=True, serialize=False)),
                ('id', models.UUIDField(unique=True)),
                ('aggregatetype', models.TextField()),
                ('aggregateid', models.UUIDField()),
                ('number', models.BigIntegerField(help_text='From 1 in each stream, without a gap.')),
                ('type', models.TextField()),
                ('version', models.PositiveIntegerField()),
                ('payload', models.JSONField()),
                ('occurred_at', models.DateTimeField(help_text='When it happened, in business time.')),
                ('recorded_at', models.DateTimeField(help_text="When it was written, by the database's clock.")),
                ('actor', models.TextField(help_text='Who did it, where that is known.', null=True)),
                ('correlation_id', models.TextField()),
                ('causation_id', models.TextField(null=True)),
                ('traceparent', models.TextField(null=True)),
            ],
            options={
                'verbose_name': 'event',
                'verbose_name_plural': 'history',
                'abstract': False,
                'indexes': [models.Index(fields=['correlation_id'], name='orders_event_click')],
                'constraints': [models.UniqueConstraint(fields=('aggregatetype', 'aggregateid', 'number'), name='orders_event_number')],
            },
        ),
        migrations.RunSQL(KEEP_SENT, migrations.RunSQL.noop),
    ]
