"""How payments carries out its commands.

Each step commits what it is about to do, calls the provider with no transaction open, and
records the answer; ``payments/operations.py`` has the keys, ``payments/inquiry.py`` lost answers.
"""

from dataclasses import dataclass
from uuid import UUID

from payments import inquiry, services
from payments.commands import (
    AuthorizedPayment,
    AuthorizePayment,
    CapturedPayment,
    CapturePayment,
    ClosePayment,
    PreparedPayment,
    PreparePayment,
    VoidPayment,
)
from payments.gateway import IntentStatus, NewIntent, ProviderIntent
from payments.gateways import gateway
from payments.models import OperationKind, Payment, PaymentMethod
from payments.operations import (
    Opened,
    closing_key,
    note_closing,
    note_refusal,
    note_success,
    noting_refusals,
    open_operation,
)
from sagas.api import Rejected, handles_remote


class UnknownPayment(Exception):
    """There is no such payment."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Preparing:
    """What is needed to open a payment at the provider."""

    opened: Opened
    token: str
    """Empty if the customer's method is gone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Closing:
    """What is needed to close a payment at the provider."""

    payment: Payment
    opened: Opened | None
    """None if the provider has already confirmed that it is closed."""


# -- prepare ------------------------------------------------------------------------------------


def open_payment(command: PreparePayment) -> Preparing:
    """Write the payment and the operation that opens it."""
    mine = PaymentMethod.objects.filter(
        id=command.method_id, customer_id=command.customer_id, active=True
    )
    method = mine.first()
    payment = Payment.objects.filter(id=command.payment_id).first()
    if payment is None:
        payment = Payment.objects.create(
            id=command.payment_id,
            purpose="order",
            purpose_id=command.order_id,
            customer_id=command.customer_id,
            method=method,
            currency=command.currency,
            amount=command.amount,
        )
    opened = open_operation(payment, OperationKind.PREPARE)
    return Preparing(opened=opened, token=method.token if method else "")


def send_prepare(command: PreparePayment, intent: Preparing) -> ProviderIntent:
    """Open the payment at the provider; no money moves.

    Safe to repeat: an intent opened by an earlier attempt is found by the payment's id, and the
    key is the same. An intent too many would hold no money and could never be confirmed.
    """
    if not intent.token:
        raise Rejected("payment_method_gone")
    wanted = NewIntent(
        amount=command.amount,
        currency=command.currency,
        token=intent.token,
        reference=str(command.payment_id),
    )
    found = inquiry.prepared_before(gateway(), intent.opened, wanted)
    if found is not None:
        return found
    with noting_refusals(intent.opened):
        prepared = gateway().prepare(wanted, intent.opened.call)
    inquiry.check_same_money(intent.opened.payment, prepared)
    return prepared


def refuse_prepare(command: PreparePayment, intent: Preparing, rejected: Rejected) -> None:
    """Record that the payment came to nothing before it began."""
    note_refusal(rejected)
    services.decline(intent.opened.payment, rejected.reason)


@handles_remote(PreparePayment, intent=open_payment, call=send_prepare, refused=refuse_prepare)
def record_prepare(
    command: PreparePayment, intent: Preparing, outcome: ProviderIntent
) -> PreparedPayment:
    """Keep the provider's name of the payment, before any money can be held on it."""
    services.store_provider_ref(intent.opened.payment, outcome.ref)
    note_success()
    return PreparedPayment(payment_id=command.payment_id)


# -- authorize ----------------------------------------------------------------------------------


def open_authorization(command: AuthorizePayment) -> Opened:
    """Write the operation that holds the money."""
    return open_operation(_payment(command.payment_id), OperationKind.AUTHORIZE)


def send_confirm(command: AuthorizePayment, intent: Opened) -> ProviderIntent:
    """Hold the money on the card.

    Safe to repeat: the provider is asked first, the key is the same, and it holds the money of
    an intent once.
    """
    ref = inquiry.ref_of(intent.payment)
    found = inquiry.outcome_before(gateway(), intent, "confirm")
    with noting_refusals(intent):
        outcome = found or gateway().confirm(ref, intent.call)
    return inquiry.whole(intent.payment, outcome, outcome.authorized)


def refuse_authorization(command: AuthorizePayment, intent: Opened, rejected: Rejected) -> None:
    """Record that the bank said no, and tell it."""
    note_refusal(rejected)
    services.decline(intent.payment, rejected.reason)


@handles_remote(
    AuthorizePayment, intent=open_authorization, call=send_confirm, refused=refuse_authorization
)
def record_authorization(
    command: AuthorizePayment, intent: Opened, outcome: ProviderIntent
) -> AuthorizedPayment:
    """Record that the money is held."""
    note_success()
    services.authorize(intent.payment)
    return AuthorizedPayment(payment_id=command.payment_id)


# -- capture, the pivot -------------------------------------------------------------------------


def open_capture(command: CapturePayment) -> Opened:
    """Write the operation that takes the money.

    :raises PaymentMoved: if none is held; past the point of no return that would be too late
    """
    opened = open_operation(_payment(command.payment_id), OperationKind.CAPTURE)
    services.check_held(opened.payment)
    return opened


def send_capture(command: CapturePayment, intent: Opened) -> ProviderIntent:
    """Take the money.

    Safe to repeat: the provider is asked first, the key is the same, and it captures an intent
    once, whatever the key.
    """
    ref = inquiry.ref_of(intent.payment)
    found = inquiry.outcome_before(gateway(), intent, "capture")
    with noting_refusals(intent):
        outcome = found or gateway().capture(ref, intent.call)
    return inquiry.whole(intent.payment, outcome, outcome.captured)


def make_refusal_final(command: CapturePayment, intent: Opened) -> ProviderIntent | None:
    """Cancel the intent, so that no earlier capture can execute any more, under any key.

    Safe to repeat: a cancel is final, and the answer is the same each time. Told that the money
    was taken after all, the outcome is the capture.
    """
    with noting_refusals(intent, closing=True):
        end = inquiry.cancel_for_good(gateway(), intent, closing_key(intent))
    if end.status is IntentStatus.CAPTURED:
        return inquiry.whole(intent.payment, end, end.captured)
    return None


def refuse_capture(command: CapturePayment, intent: Opened, rejected: Rejected) -> None:
    """Record that the bank said no, and that the hold is gone for good."""
    note_refusal(rejected)
    note_closing(intent)
    services.close(intent.payment, released=intent.payment.authorized)


@handles_remote(
    CapturePayment,
    intent=open_capture,
    call=send_capture,
    close=make_refusal_final,
    refused=refuse_capture,
)
def record_capture(
    command: CapturePayment, intent: Opened, outcome: ProviderIntent
) -> CapturedPayment:
    """Record that the money is ours, and tell it."""
    note_success()
    captured_at = services.capture(intent.payment)
    return CapturedPayment(
        payment_id=command.payment_id, captured_at=captured_at, provider_ref=outcome.ref
    )


# -- undo ---------------------------------------------------------------------------------------


def open_void(command: VoidPayment) -> Closing:
    """Write the operation that lets the hold go."""
    return _closing(command.payment_id)


def send_void(command: VoidPayment, intent: Closing) -> int:
    """Let the hold go, for good, and return how much the provider held.

    Safe to repeat: a cancel is final and the answer is the same each time. It is sent even where
    the bank had said no, since a request that is long under way may still arrive.
    """
    return _release(intent)


@handles_remote(VoidPayment, intent=open_void, call=send_void)
def record_void(command: VoidPayment, intent: Closing, outcome: int) -> None:
    """Record that the hold is gone.

    Safe to repeat: a payment that has ended without money stays as it is.
    """
    _record_closing(intent, outcome)


def open_close(command: ClosePayment) -> Closing:
    """Write the operation that closes the payment."""
    return _closing(command.payment_id)


def send_close(command: ClosePayment, intent: Closing) -> int:
    """Close the payment at the provider, for good, and return how much it held.

    Safe to repeat: a cancel is final; where there is nothing to cancel, nothing that comes late
    can be confirmed by anybody.
    """
    return _release(intent)


@handles_remote(ClosePayment, intent=open_close, call=send_close)
def record_close(command: ClosePayment, intent: Closing, outcome: int) -> None:
    """Record that the payment came to nothing.

    Safe to repeat: a payment that has ended without money stays as it is.
    """
    _record_closing(intent, outcome)


def _closing(payment_id: UUID) -> Closing:
    payment = _payment(payment_id)
    if payment.closed_at is not None:
        return Closing(payment=payment, opened=None)
    return Closing(payment=payment, opened=open_operation(payment, OperationKind.VOID))


def _release(intent: Closing) -> int:
    if intent.opened is None:
        return 0
    with noting_refusals(intent.opened):
        return inquiry.release(gateway(), intent.opened)


def _record_closing(intent: Closing, released: int) -> None:
    if intent.opened is None:
        return
    note_success()
    services.close(intent.payment, released=released)


def _payment(payment_id: UUID) -> Payment:
    payment = Payment.objects.filter(id=payment_id).first()
    if payment is None:
        raise UnknownPayment(payment_id)
    return payment
