"""Asking the provider what became of a call whose answer was lost, and closing for good.

Nothing here runs in a transaction.  "Asked, and still open" is no answer: the call is then
repeated under the same key, so that it takes effect once at most.
"""

from uuid import UUID

from payments.gateway import (
    Gateway,
    IntentStatus,
    NewIntent,
    ProviderCall,
    ProviderDefect,
    ProviderIntent,
)
from payments.models import Payment
from payments.operations import Opened
from sagas.api import Rejected, sometimes

DONE = {
    "confirm": frozenset({IntentStatus.AUTHORIZED, IntentStatus.CAPTURED}),
    "capture": frozenset({IntentStatus.CAPTURED}),
}


class CapturedMeanwhile(ProviderDefect):
    """The money was taken, so there is no hold to let go: a person has to look."""


def outcome_before(gateway: Gateway, opened: Opened, operation: str) -> ProviderIntent | None:
    """Return what an earlier attempt has done, or None if it may still be repeated.

    :raises Rejected: if nothing can happen on the provider's intent any more
    """
    if not opened.ask_first:
        return None
    found = gateway.find(ref_of(opened.payment), opened.call.correlation_id)
    if found.status in DONE[operation]:
        sometimes("provider.replayed")
        return found
    if found.status is IntentStatus.CANCELED:
        raise Rejected(found.decline_code or "canceled")
    return None


def prepared_before(gateway: Gateway, opened: Opened, wanted: NewIntent) -> ProviderIntent | None:
    """Return the intent that an earlier attempt has opened, if there is one.

    :raises ProviderDefect: if it asks for other money
    """
    if not opened.ask_first:
        return None
    found = gateway.find_by_reference(wanted.reference, opened.call.correlation_id)
    usable = (intent for intent in found if intent.status is IntentStatus.PREPARED)
    intent = next(usable, None)
    if intent is not None:
        sometimes("provider.replayed")
        check_same_money(opened.payment, intent)
    return intent


def check_same_money(payment: Payment, intent: ProviderIntent) -> None:
    """Refuse an intent over another amount than the payment.

    :raises ProviderDefect: if they differ
    """
    theirs = (intent.reference, intent.amount, intent.currency)
    if theirs != (str(payment.id), payment.amount, payment.currency):
        raise ProviderDefect(f"{intent.ref} is over {theirs}, payment {payment.id} is not")


def whole(payment: Payment, outcome: ProviderIntent, moved: int) -> ProviderIntent:
    """Return an outcome that is over the amount of the payment.

    :raises ProviderDefect: if other money has moved
    """
    if moved != payment.amount:
        raise ProviderDefect(f"{outcome.ref}: {moved} moved instead of {payment.amount}")
    return outcome


def ref_of(payment: Payment) -> str:
    """Return the provider's name of a payment.

    :raises ProviderDefect: if it has none, which means that it was never prepared
    """
    if not payment.provider_ref:
        raise ProviderDefect(f"payment {payment.id} was never prepared")
    return payment.provider_ref


def cancel_for_good(gateway: Gateway, opened: Opened, key: str) -> ProviderIntent:
    """Cancel the payment's intent and return how it has ended: canceled, or captured.

    Where the answer of an earlier cancel was lost, it is asked for first: an error that the
    provider has stored under the key would come back for ever.
    """
    ref = ref_of(opened.payment)
    if opened.ask_first:
        found = gateway.find(ref, opened.call.correlation_id)
        if found.status in {IntentStatus.CANCELED, IntentStatus.CAPTURED}:
            sometimes("provider.replayed")
            return found
    return gateway.cancel(ref, ProviderCall(key=key, correlation_id=opened.call.correlation_id))


def release(gateway: Gateway, opened: Opened) -> int:
    """Cancel whatever the provider has of a payment and return how much it held.

    Where no name of the provider is stored, the intents are looked up by ours.  One that is
    opened only later, by a request that was long under way, does no harm: no row names it, so
    nobody can ever confirm it.

    :raises CapturedMeanwhile: if the money was taken; this is never nothing to do
    """
    if opened.payment.provider_ref:
        ends = [cancel_for_good(gateway, opened, opened.call.key)]
    else:
        ends = _cancel_found(gateway, opened, opened.payment.id)
    for end in ends:
        if end.status is not IntentStatus.CANCELED:
            raise CapturedMeanwhile(f"{end.ref} of payment {opened.payment.id} is {end.status}")
    return sum(end.authorized for end in ends)


def _cancel_found(gateway: Gateway, opened: Opened, payment_id: UUID) -> list[ProviderIntent]:
    ends = []
    for found in gateway.find_by_reference(str(payment_id), opened.call.correlation_id):
        if found.status in {IntentStatus.CANCELED, IntentStatus.CAPTURED}:
            ends.append(found)
            continue
        call = ProviderCall(
            key=f"{opened.call.key}:{found.ref}", correlation_id=opened.call.correlation_id
        )
        ends.append(gateway.cancel(found.ref, call))
    return ends
