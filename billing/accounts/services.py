"""Opening and locking accounts. Each runs inside the transaction of its caller."""

from uuid import UUID

from django.db.models.functions import Now

from billing.accounts.models import BillingAccount
from billing.events import AccountOpened
from sagas.api import connection_of, publish, transaction_required, uuid7

_OPEN = """
INSERT INTO billing_billingaccount (id, customer_id, number, name, currency, updated_at)
VALUES (%(id)s, %(customer)s, 'A-' || nextval('billing.account_number'), %(name)s, %(currency)s,
    clock_timestamp())
ON CONFLICT (customer_id) DO NOTHING
"""


def locked_account(customer_id: UUID, *, currency: str, name: str = "") -> BillingAccount:
    """Return the account of a customer, opened if need be, locked until the commit.

    Whatever books for a customer begins here. It is what makes an invoice and the payment for
    it see each other when both are booked at the same moment, in either order.
    """
    transaction_required()
    account = _lock(customer_id)
    if account is None:
        is_new = _open(customer_id, currency, name)
        account = BillingAccount.objects.select_for_update(no_key=True).get(customer_id=customer_id)
        if is_new:
            _announce(account)
    if name and not account.name:
        # The news of a payment may come before the news of who the customer is.
        BillingAccount.objects.filter(id=account.id, name="").update(name=name, updated_at=Now())
        account.name = name
    return account


def _lock(customer_id: UUID) -> BillingAccount | None:
    rows = BillingAccount.objects.select_for_update(no_key=True)
    return rows.filter(customer_id=customer_id).first()


def _open(customer_id: UUID, currency: str, name: str) -> bool:
    with connection_of("billing").cursor() as cursor:
        cursor.execute(
            _OPEN,
            {"id": uuid7(), "customer": customer_id, "name": name, "currency": currency},
        )
        return bool(cursor.rowcount == 1)


def _announce(account: BillingAccount) -> None:
    publish(
        AccountOpened(
            account_id=account.id,
            number=account.number,
            customer_id=account.customer_id,
            currency=account.currency,
        ),
        aggregate=account,
    )
