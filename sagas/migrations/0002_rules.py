"""What SQL alone can hold: the business clock, and journals that are only ever added to."""

from django.db import migrations

# The functions are called by this name wherever the tables are: a project that does not give each
# app a schema has them in `public`.
SCHEMA = "CREATE SCHEMA IF NOT EXISTS sagas"

CLOCK = """
DO $do$ BEGIN EXECUTE format($sql$
    CREATE FUNCTION sagas.now() RETURNS timestamptz LANGUAGE sql STABLE AS $$
        SELECT clock_timestamp() + coalesce((SELECT ahead FROM %I.sagas_clock), interval '0')
    $$ $sql$, (SELECT relnamespace::regnamespace::text FROM pg_class
        WHERE oid = 'sagas_clock'::regclass)); END $do$
"""

APPEND_ONLY = """
CREATE FUNCTION sagas.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON sagas_stepfault
    FOR EACH ROW EXECUTE FUNCTION sagas.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON sagas_operatoraction
    FOR EACH ROW EXECUTE FUNCTION sagas.refuse_change();
CREATE FUNCTION sagas.refuse_rewriting() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.finished_at IS NOT NULL THEN
        RAISE EXCEPTION 'saga % has ended', OLD.id USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
-- A saga that has ended never moves again, whoever asks.
CREATE TRIGGER ended BEFORE UPDATE ON sagas_saga
    FOR EACH ROW WHEN (OLD.finished_at IS NOT NULL) EXECUTE FUNCTION sagas.refuse_rewriting();
"""


class Migration(migrations.Migration):
    """Adds the business clock and the append-only rules."""

    dependencies = [("sagas", "0001_initial")]

    operations = [
        migrations.RunSQL(SCHEMA, migrations.RunSQL.noop),
        migrations.RunSQL(
            CLOCK, "DROP FUNCTION sagas.now()"
        ),
        migrations.RunSQL(
            APPEND_ONLY,
            "DROP TRIGGER ended ON sagas_saga; DROP TRIGGER append_only ON sagas_operatoraction;"
            "DROP TRIGGER append_only ON sagas_stepfault; DROP FUNCTION sagas.refuse_rewriting();"
            "DROP FUNCTION sagas.refuse_change()",
        ),
    ]
