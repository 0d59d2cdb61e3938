"""The end of a child is told to its parent by the commit that ends it, whichever commit that is."""

from django.db import migrations

TELL_PARENT = """
CREATE FUNCTION sagas.tell_parent() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- First the row, then the signal: a parent that is about to sleep sees one or is woken.
    PERFORM 1 FROM sagas_saga WHERE id = NEW.parent_id FOR UPDATE;
    INSERT INTO sagas_signal (id, saga_id, name, key, payload)
    VALUES (gen_random_uuid(), NEW.parent_id, 'child:' || NEW.parent_step, NEW.id::text,
        jsonb_build_object('status', NEW.status, 'failure', NEW.failure, 'state', NEW.state));
    UPDATE sagas_saga SET not_before = NULL, hints = 0, updated_at = clock_timestamp(),
        due_at = clock_timestamp() + interval '1 second'
    WHERE id = NEW.parent_id AND cursor = NEW.parent_step AND waiting_for LIKE 'child:%'
        AND parked_at IS NULL AND leased_until IS NULL;
    RETURN NULL;
END $$;
CREATE TRIGGER tell_parent AFTER UPDATE ON sagas_saga FOR EACH ROW
    WHEN (NEW.parent_id IS NOT NULL AND NEW.finished_at IS NOT NULL AND OLD.finished_at IS NULL)
    EXECUTE FUNCTION sagas.tell_parent();
"""


class Migration(migrations.Migration):
    """Adds the trigger."""

    dependencies = [("sagas", "0004_branches")]

    operations = [
        migrations.RunSQL(
            TELL_PARENT, "DROP TRIGGER tell_parent ON sagas_saga; DROP FUNCTION sagas.tell_parent()"
        )
    ]
