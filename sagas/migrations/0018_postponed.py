from django.db import migrations, models

# What is put off again and again is one row that counts; whatever else happened stays as it was.
RULE = """
CREATE FUNCTION sagas.refuse_change_of_fault() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF (OLD.kind, NEW.kind) = ('postponed', 'postponed')
            AND (NEW.id, NEW.saga_id, NEW.step_no, NEW.name, NEW.direction, NEW.traceback)
                = (OLD.id, OLD.saga_id, OLD.step_no, OLD.name, OLD.direction, OLD.traceback)
            AND NEW.times = OLD.times + 1 AND NEW.at >= OLD.at
            AND NEW.first_at = coalesce(OLD.first_at, OLD.at) THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
CREATE OR REPLACE TRIGGER append_only BEFORE UPDATE OR DELETE ON sagas_stepfault
    FOR EACH ROW EXECUTE FUNCTION sagas.refuse_change_of_fault();
"""
BACK = """
CREATE OR REPLACE TRIGGER append_only BEFORE UPDATE OR DELETE ON sagas_stepfault
    FOR EACH ROW EXECUTE FUNCTION sagas.refuse_change();
DROP FUNCTION sagas.refuse_change_of_fault();
"""


class Migration(migrations.Migration):
    """What is put off again and again is one row."""

    dependencies = [("sagas", "0017_unreadable")]

    operations = [
        migrations.AddField(
            model_name="stepfault",
            name="times",
            field=models.IntegerField(db_default=1, default=1),
        ),
        migrations.AddField(
            model_name="stepfault",
            name="first_at",
            field=models.DateTimeField(help_text="Of several, when the first was.", null=True),
        ),
        migrations.AlterField(
            model_name="stepfault",
            name="kind",
            field=models.TextField(help_text="fault, unknown, rejected or postponed"),
        ),
        migrations.RunSQL(RULE, BACK),
    ]
