"""Writes: methods of payment, and the moves of a payment from one status to the next."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import F

from payments.cards import DESCRIPTIONS
from payments.events import PaymentAuthorized, PaymentCaptured, PaymentDeclined, PaymentVoided
from payments.models import Payment, PaymentMethod
from payments.queries import PaymentMethodView, method_view
from payments.states import LIVE, PaymentStatus, sources_of
from sagas.api import clock, publish, transaction, transaction_required


class UnknownToken(Exception):
    """The provider has no payment method of this name."""


class PaymentMoved(Exception):
    """The payment is not in the status that this change starts from."""


def register_method(customer_id: UUID, token: str) -> PaymentMethodView:
    """Register a card of the provider for a customer, in a transaction of its own.

    :raises UnknownToken: if the provider has no such card
    """
    with transaction("payments"):
        return add_method(customer_id, token)


def add_method(customer_id: UUID, token: str) -> PaymentMethodView:
    """Register a card of the provider for a customer; a card known already is taken up again.

    :raises OutsideTransaction: if no transaction is open
    :raises UnknownToken: if the provider has no such card
    """
    transaction_required()
    described = DESCRIPTIONS.get(token)
    if described is None:
        raise UnknownToken(token)
    method, created = PaymentMethod.objects.get_or_create(
        customer_id=customer_id,
        token=token,
        defaults={
            "brand": described.brand,
            "last4": described.last4,
            "label": described.label,
            "kind": described.kind,
        },
    )
    if not created and not method.active:
        PaymentMethod.objects.filter(id=method.id).update(active=True)
        method.active = True
    return method_view(method)


def forget_method(customer_id: UUID, method_id: UUID) -> bool:
    """Stop offering a card, in a transaction of its own. Tell whether there was one."""
    with transaction("payments"):
        return drop_method(customer_id, method_id)


def drop_method(customer_id: UUID, method_id: UUID) -> bool:
    """Stop offering a card; payments that use it go on. Tell whether there was one.

    :raises OutsideTransaction: if no transaction is open
    """
    transaction_required()
    mine = PaymentMethod.objects.filter(id=method_id, customer_id=customer_id, active=True)
    return bool(mine.update(active=False))


def store_provider_ref(payment: Payment, ref: str) -> None:
    """Keep the provider's name of a payment.

    :raises PaymentMoved: if the payment is not waiting for one
    """
    waiting = Payment.objects.filter(
        id=payment.id, status=PaymentStatus.CREATED, provider_ref__isnull=True
    )
    if not waiting.update(provider_ref=ref, updated_at=clock.now()):
        raise PaymentMoved(f"{payment.id}: {ref}")
    payment.provider_ref = ref


def authorize(payment: Payment) -> None:
    """Record that the amount is held on the card.

    :raises PaymentMoved: if the payment does not wait for that
    """
    _move(payment, PaymentStatus.AUTHORIZED, authorized=F("amount"))
    publish(PaymentAuthorized(**_facts(payment)), aggregate=payment)


def check_held(payment: Payment) -> None:
    """Refuse to take money that is not held.

    :raises PaymentMoved: if the payment is not authorized
    """
    if payment.status != PaymentStatus.AUTHORIZED:
        raise PaymentMoved(f"{payment.id} is {payment.status}, so no money is held to take")


def decline(payment: Payment, code: str) -> None:
    """Record that the hold was refused.

    :raises PaymentMoved: if the payment does not wait for that
    """
    _move(payment, PaymentStatus.FAILED)
    publish(PaymentDeclined(code=code, **_facts(payment)), aggregate=payment)


def capture(payment: Payment) -> datetime:
    """Record that the money is ours, and return since when.

    The instant is ours too: the provider tells none.

    :raises PaymentMoved: if the payment does not wait for that
    """
    captured_at = clock.now()
    _move(payment, PaymentStatus.CAPTURED, captured=F("amount"), captured_at=captured_at)
    payment.captured_at = captured_at
    publish(PaymentCaptured(captured_at=captured_at, **_facts(payment)), aggregate=payment)
    return captured_at


def close(payment: Payment, *, released: int) -> None:
    """Record that the provider has closed the payment for good, and let go what it held.

    Safe to repeat: a payment that has ended without money stays as it is.

    :param released: what the provider held when it was told; it may know of a hold whose
        answer never reached us
    :raises PaymentMoved: if the money is ours meanwhile
    """
    if payment.status == PaymentStatus.AUTHORIZED or released:
        ends = PaymentStatus.VOIDED
        changes = {"authorized": F("amount"), "voided": F("amount")}
    else:
        ends = PaymentStatus.FAILED
        changes = {}
    if payment.status in LIVE:
        _move(payment, ends, closed_at=clock.now(), **changes)
        if ends is PaymentStatus.VOIDED:
            publish(PaymentVoided(**_facts(payment)), aggregate=payment)
        return
    ended = Payment.objects.filter(id=payment.id, live=False, closed_at__isnull=True)
    ended.update(closed_at=clock.now(), updated_at=clock.now())


def _move(payment: Payment, target: PaymentStatus, **changes: Any) -> None:
    moved = Payment.objects.filter(id=payment.id, status__in=sources_of(target)).update(
        status=target, live=target in LIVE, updated_at=clock.now(), **changes
    )
    if not moved:
        raise PaymentMoved(f"{payment.id} to {target}")
    payment.status = target


def _facts(payment: Payment) -> dict[str, Any]:
    return {
        "payment_id": payment.id,
        "purpose": payment.purpose,
        "purpose_id": payment.purpose_id,
        "customer_id": payment.customer_id,
        "amount": payment.amount,
        "currency": payment.currency,
        "provider_ref": payment.provider_ref or "",
    }
