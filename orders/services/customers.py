"""Customers, and that they have read what they were told."""

from uuid import UUID

from django.db import IntegrityError

from orders.events import CustomerRegistered
from orders.models import Customer, Notification
from orders.refusals import EmailTaken
from sagas.api import publish, transaction


def register_customer(
    *,
    email: str,
    name: str,
    user_id: int | None = None,
    reference: str | None = None,
    currency: str = "GBP",
) -> Customer:
    """Register somebody who may order; billing opens an account when it hears of it.

    :param user_id: the sign-in, for somebody who uses the pages
    :param reference: the caller's own key; a second customer with it is not registered, the
        first is returned
    :raises EmailTaken: if somebody else has that address
    """
    known = _registered_as(reference)
    if known is not None:
        return known
    customer = Customer(
        email=email.strip(),
        name=name.strip(),
        user_id=user_id,
        reference=reference,
        currency=currency,
    )
    try:
        _register(customer)
    except IntegrityError:
        known = _registered_as(reference)
        if known is not None:
            return known
        if Customer.objects.filter(email__iexact=customer.email).exists():
            raise EmailTaken("That address is registered already.", "email") from None
        raise
    return customer


def _register(customer: Customer) -> None:
    with transaction("orders"):
        customer.save(force_insert=True)
        publish(
            CustomerRegistered(
                customer_id=customer.id,
                customer_name=customer.name,
                email=customer.email,
                currency=customer.currency,
            ),
            aggregate=customer,
        )


def _registered_as(reference: str | None) -> Customer | None:
    if reference is None:
        return None
    return Customer.objects.filter(reference=reference).first()


def mark_read(*, customer_id: UUID) -> None:
    """Take note that a customer has seen their messages."""
    with transaction("orders"):
        Notification.objects.filter(customer_id=customer_id, status="unread").update(status="read")
