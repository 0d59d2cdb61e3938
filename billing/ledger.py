"""The books, double entry: what is posted is never changed, and a balance is always a sum.

An entry is unique by its rule and the fact it books, so posting a fact again is refused by the
database. That every entry balances, in one currency, and stays as it was written is held by
triggers (migration 0002), not by this module.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from billing.models.ledger import JournalEntry, JournalLine
from sagas.api import transaction_required, uuid7

CLEARING: Final = "1100"
BANK: Final = "1110"
RECEIVABLE: Final = "1200"
SUSPENSE: Final = "1900"
CUSTOMER_BALANCE: Final = "2100"
TAX_PAYABLE: Final = "2300"
REFUNDS_PAYABLE: Final = "2400"
SALES: Final = "4000"
RETURNS: Final = "4095"


class Rule(StrEnum):
    """Why something is posted; with the fact it books, the key of an entry."""

    INVOICE_ISSUED = "invoice_issued"
    PAYMENT_CAPTURED = "payment_captured"
    PAYMENT_APPLIED = "payment_applied"


class Side(StrEnum):
    """The two sides of an account."""

    DEBIT = "D"
    CREDIT = "C"


@dataclass(frozen=True, kw_only=True, slots=True)
class Posting:
    """One line of an entry to be posted."""

    account: str
    side: Side
    amount: int
    party_id: UUID | None = None


def debit(account: str, amount: int, party_id: UUID | None = None) -> Posting:
    """Return a line on the debit side."""
    return Posting(account=account, side=Side.DEBIT, amount=amount, party_id=party_id)


def credit(account: str, amount: int, party_id: UUID | None = None) -> Posting:
    """Return a line on the credit side."""
    return Posting(account=account, side=Side.CREDIT, amount=amount, party_id=party_id)


def post(
    rule: Rule, source: UUID, *lines: Posting, currency: str, occurred_at: datetime
) -> JournalEntry:
    """Write an entry into the books.

    :param source: the fact that is booked; a second entry for it by the same rule is refused
    """
    transaction_required()
    entry = JournalEntry.objects.create(
        id=uuid7(), rule=rule.value, source=source, occurred_at=occurred_at
    )
    JournalLine.objects.bulk_create(
        JournalLine(
            entry=entry,
            account_id=line.account,
            party_id=line.party_id,
            side=line.side.value,
            amount=line.amount,
            currency=currency,
        )
        for line in lines
    )
    return entry
