"""Rules that no code may break, and the numbers of orders."""

from django.db import migrations

ORDER_NUMBER = "CREATE SEQUENCE orders.order_number START 100001"
NO_ORDER_NUMBER = "DROP SEQUENCE orders.order_number"

REFUSE_CHANGE = """
CREATE FUNCTION orders.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on %: rows of this table are never changed', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation',
            HINT = 'Write a new row that corrects the old one.';
END $$;
"""
NO_REFUSE_CHANGE = "DROP FUNCTION orders.refuse_change()"

UNCHANGING = ("orders_orderline", "orders_stockmovement")


def unchanging(table):
    return migrations.RunSQL(
        f"CREATE TRIGGER {table}_unchanging BEFORE UPDATE OR DELETE ON {table}"
        " FOR EACH STATEMENT EXECUTE FUNCTION orders.refuse_change()",
        f"DROP TRIGGER {table}_unchanging ON {table}",
    )


class Migration(migrations.Migration):
    dependencies = [("orders", "0001_initial")]

    operations = [
        migrations.RunSQL(ORDER_NUMBER, NO_ORDER_NUMBER),
        migrations.RunSQL(REFUSE_CHANGE, NO_REFUSE_CHANGE),
        *(unchanging(table) for table in UNCHANGING),
    ]
