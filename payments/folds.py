"""What the events of this context come to: the columns that each of them has to have filled."""

from django.db.models import Q

from payments.events import PaymentAuthorized, PaymentCaptured, PaymentDeclined, PaymentVoided
from payments.models import Payment
from payments.states import PaymentStatus
from sagas.api import Event, Facts, folds

# Nothing is told of a payment before money is held, nor if it then comes to nothing by itself.
UNTOLD = Q(status__in=(PaymentStatus.CREATED, PaymentStatus.FAILED))
NO_MONEY = {"authorized": 0, "captured": 0, "voided": 0, "refunded": 0, "captured_at": None}


@folds(Payment, untold=UNTOLD)
def payment(facts: Facts, event: Event) -> Facts:
    """Tell where a payment stands, and how much is held, taken and let go."""
    match event:
        case PaymentAuthorized():
            held = {"status": PaymentStatus.AUTHORIZED, "live": True, "authorized": event.amount}
            return {**_named(event), **NO_MONEY, **held}
        case PaymentCaptured():
            taken = {"captured": event.amount, "captured_at": event.captured_at}
            return {**facts, "status": PaymentStatus.CAPTURED, **taken}
        case PaymentDeclined():
            return {
                **_named(event),
                **NO_MONEY,
                "status": PaymentStatus.FAILED,
                "live": False,
            }
        case PaymentVoided():
            # The provider may know of a hold whose answer never reached us.
            let_go = {"authorized": event.amount, "voided": event.amount}
            ended = {"status": PaymentStatus.VOIDED, "live": False}
            return {**_named(event), **NO_MONEY, **let_go, **ended}
    return facts


def _named(event: PaymentAuthorized | PaymentDeclined | PaymentVoided) -> Facts:
    return {
        "purpose": event.purpose,
        "purpose_id": event.purpose_id,
        "customer_id": event.customer_id,
        "amount": event.amount,
        "currency": event.currency,
        "provider_ref": event.provider_ref,
    }
