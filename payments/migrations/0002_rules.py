"""Rules that no code may break: a recorded answer of the provider never changes again."""

from django.db import migrations

REFUSE = """
CREATE FUNCTION payments.refuse_change_of_resolved() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'operation %: its answer is recorded and never changes', OLD.id
        USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER payments_paymentoperation_resolved BEFORE UPDATE OR DELETE
    ON payments_paymentoperation FOR EACH ROW WHEN (OLD.status IN ('succeeded', 'declined'))
    EXECUTE FUNCTION payments.refuse_change_of_resolved();

CREATE FUNCTION payments.refuse_other_effect() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'operation %: what was sent, and under which key, never changes', OLD.id
        USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER payments_paymentoperation_effect BEFORE UPDATE
    ON payments_paymentoperation FOR EACH ROW
    WHEN ((OLD.payment_id, OLD.kind, OLD.amount, OLD.effect_key, OLD.idempotency_key)
        IS DISTINCT FROM
        (NEW.payment_id, NEW.kind, NEW.amount, NEW.effect_key, NEW.idempotency_key))
    EXECUTE FUNCTION payments.refuse_other_effect();
"""
NO_REFUSE = """
DROP TRIGGER payments_paymentoperation_effect ON payments_paymentoperation;
DROP FUNCTION payments.refuse_other_effect();
DROP TRIGGER payments_paymentoperation_resolved ON payments_paymentoperation;
DROP FUNCTION payments.refuse_change_of_resolved();
"""


class Migration(migrations.Migration):
    dependencies = [("payments", "0001_initial")]

    operations = [migrations.RunSQL(REFUSE, NO_REFUSE)]
