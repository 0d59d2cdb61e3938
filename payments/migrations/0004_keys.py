"""A definite no of the provider gives the next attempt a key with the next number."""

from django.db import migrations

NUMBERED = """
DROP TRIGGER payments_paymentoperation_effect ON payments_paymentoperation;
CREATE TRIGGER payments_paymentoperation_effect BEFORE UPDATE
    ON payments_paymentoperation FOR EACH ROW
    WHEN ((OLD.payment_id, OLD.kind, OLD.amount, OLD.effect_key)
            IS DISTINCT FROM (NEW.payment_id, NEW.kind, NEW.amount, NEW.effect_key)
        OR NEW.negatives < OLD.negatives
        OR (NEW.idempotency_key <> OLD.idempotency_key
            AND (NEW.negatives <> OLD.negatives + 1
                OR NEW.idempotency_key <> NEW.effect_key || ':' || NEW.negatives)))
    EXECUTE FUNCTION payments.refuse_other_effect();
"""
FIXED = """
DROP TRIGGER payments_paymentoperation_effect ON payments_paymentoperation;
CREATE TRIGGER payments_paymentoperation_effect BEFORE UPDATE
    ON payments_paymentoperation FOR EACH ROW
    WHEN ((OLD.payment_id, OLD.kind, OLD.amount, OLD.effect_key, OLD.idempotency_key)
        IS DISTINCT FROM
        (NEW.payment_id, NEW.kind, NEW.amount, NEW.effect_key, NEW.idempotency_key))
    EXECUTE FUNCTION payments.refuse_other_effect();
"""


class Migration(migrations.Migration):
    dependencies = [("payments", "0003_outbox_by_correlation")]

    operations = [migrations.RunSQL(NUMBERED, FIXED)]
