"""Rules that no code may break: the books, issued invoices, and the chart of accounts."""

from django.db import migrations

CHART = (
    ("1100", "Provider clearing"),
    ("1110", "Bank"),
    ("1200", "Receivable"),
    ("1900", "Suspense"),
    ("2100", "Customer balance"),
    ("2300", "Tax payable"),
    ("2400", "Refunds payable"),
    ("4000", "Sales"),
    ("4095", "Returns"),
)

ACCOUNT_NUMBER = "CREATE SEQUENCE billing.account_number START 100001"
NO_ACCOUNT_NUMBER = "DROP SEQUENCE billing.account_number"

REFUSE_CHANGE = """
CREATE FUNCTION billing.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on %: rows of this table are never changed', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation',
            HINT = 'Write a new row that corrects the old one.';
END $$;
"""
NO_REFUSE_CHANGE = "DROP FUNCTION billing.refuse_change()"

UNCHANGING = ("billing_journalentry", "billing_journalline", "billing_invoiceline")


def unchanging(table):
    return migrations.RunSQL(
        f"CREATE TRIGGER {table}_unchanging BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
        " FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change()",
        f"DROP TRIGGER {table}_unchanging ON {table}",
    )


# An entry carries the transaction that wrote it, so that a line added by any other is told apart.
# The check waits for the commit: entry and lines may be written in any order. It runs for the
# entry (which may have no line at all) and again for each line, so that no use of SET
# CONSTRAINTS lets a line slip in behind it.
JOURNAL = """
CREATE FUNCTION billing.stamp_entry() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.written_by := pg_current_xact_id()::text::bigint;
    RETURN NEW;
END $$;

CREATE TRIGGER billing_journalentry_stamp BEFORE INSERT ON billing_journalentry
    FOR EACH ROW EXECUTE FUNCTION billing.stamp_entry();

CREATE FUNCTION billing.check_entry(entry uuid) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    lines integer;
    currencies integer;
    balance numeric;
BEGIN
    SELECT count(*), count(DISTINCT currency),
        sum(CASE side WHEN 'D' THEN amount ELSE -amount END)
    INTO lines, currencies, balance
    FROM billing_journalline WHERE entry_id = entry;
    IF lines = 0 THEN
        RAISE EXCEPTION 'journal entry % has no lines', entry USING ERRCODE = 'check_violation';
    ELSIF currencies > 1 THEN
        RAISE EXCEPTION 'journal entry % mixes currencies', entry
            USING ERRCODE = 'check_violation';
    ELSIF balance <> 0 THEN
        RAISE EXCEPTION 'journal entry % does not balance: debits minus credits are %', entry,
            balance USING ERRCODE = 'check_violation';
    END IF;
END $$;

CREATE FUNCTION billing.check_new_entry() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM billing.check_entry(NEW.id);
    RETURN NULL;
END $$;

CREATE FUNCTION billing.check_new_line() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM billing_journalentry
        WHERE id = NEW.entry_id AND written_by = pg_current_xact_id()::text::bigint;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'journal entry % is closed: it takes no more lines', NEW.entry_id
            USING ERRCODE = 'check_violation', HINT = 'Post a new entry.';
    END IF;
    PERFORM billing.check_entry(NEW.entry_id);
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER billing_journalentry_balanced AFTER INSERT ON billing_journalentry
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION billing.check_new_entry();

CREATE CONSTRAINT TRIGGER billing_journalline_balanced AFTER INSERT ON billing_journalline
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION billing.check_new_line();
"""
NO_JOURNAL = """
DROP TRIGGER billing_journalline_balanced ON billing_journalline;
DROP TRIGGER billing_journalentry_balanced ON billing_journalentry;
DROP FUNCTION billing.check_new_line();
DROP FUNCTION billing.check_new_entry();
DROP FUNCTION billing.check_entry(uuid);
DROP TRIGGER billing_journalentry_stamp ON billing_journalentry;
DROP FUNCTION billing.stamp_entry();
"""

# Whatever column an invoice gets in future is fixed too, unless it is named here.
INVOICE = """
CREATE FUNCTION billing.keep_invoice() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    may_change text[] := ARRAY['settled', 'status', 'updated_at', 'event_sequence'];
BEGIN
    IF to_jsonb(OLD) - may_change IS DISTINCT FROM to_jsonb(NEW) - may_change THEN
        RAISE EXCEPTION 'invoice %-% is issued: only its settlement may change', OLD.series,
            OLD.number USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER billing_invoice_keep BEFORE UPDATE ON billing_invoice
    FOR EACH ROW EXECUTE FUNCTION billing.keep_invoice();

CREATE TRIGGER billing_invoice_unchanging BEFORE DELETE OR TRUNCATE ON billing_invoice
    FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change();

CREATE FUNCTION billing.check_new_invoice() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    sum_of_lines numeric;
BEGIN
    SELECT coalesce(sum(line_total), 0) INTO sum_of_lines
    FROM billing_invoiceline WHERE invoice_id = NEW.id;
    IF sum_of_lines <> NEW.total THEN
        RAISE EXCEPTION 'invoice %-%: the lines sum to %, the total is %', NEW.series, NEW.number,
            sum_of_lines, NEW.total USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER billing_invoice_sums AFTER INSERT ON billing_invoice
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION billing.check_new_invoice();

CREATE FUNCTION billing.refuse_late_lines() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM added JOIN billing_invoice ON billing_invoice.id = added.invoice_id;
    IF FOUND THEN
        RAISE EXCEPTION 'an issued invoice takes no more lines'
            USING ERRCODE = 'check_violation', HINT = 'Lines are written before the invoice.';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER billing_invoiceline_early AFTER INSERT ON billing_invoiceline
    REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_late_lines();
"""
NO_INVOICE = """
DROP TRIGGER billing_invoiceline_early ON billing_invoiceline;
DROP FUNCTION billing.refuse_late_lines();
DROP TRIGGER billing_invoice_sums ON billing_invoice;
DROP FUNCTION billing.check_new_invoice();
DROP TRIGGER billing_invoice_unchanging ON billing_invoice;
DROP TRIGGER billing_invoice_keep ON billing_invoice;
DROP FUNCTION billing.keep_invoice();
"""


def seed_chart(apps, schema_editor):
    account = apps.get_model("billing", "LedgerAccount")
    account.objects.using(schema_editor.connection.alias).bulk_create(
        account(code=code, name=name) for code, name in CHART
    )


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_initial")]

    operations = [
        migrations.RunPython(seed_chart, migrations.RunPython.noop),
        migrations.RunSQL(ACCOUNT_NUMBER, NO_ACCOUNT_NUMBER),
        migrations.RunSQL(REFUSE_CHANGE, NO_REFUSE_CHANGE),
        *(unchanging(table) for table in UNCHANGING),
        migrations.RunSQL(JOURNAL, NO_JOURNAL),
        migrations.RunSQL(INVOICE, NO_INVOICE),
    ]
