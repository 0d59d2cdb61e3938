"""What the database refuses, whoever asks: the rules of the books."""

from datetime import UTC, datetime

import pytest
from django.db import IntegrityError

from billing import ledger
from billing.models import JournalEntry, JournalLine, LedgerAccount
from billing.queries import trial_balance
from sagas.api import OutsideTransaction, connection_of, transaction
from sagas.ids import uuid7

pytestmark = pytest.mark.usefixtures("committed_db")

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def post(*lines, source=None, currency="GBP"):
    with transaction("billing"):
        return ledger.post(
            ledger.Rule.INVOICE_ISSUED,
            source or uuid7(),
            *lines,
            currency=currency,
            occurred_at=NOW,
        )


def posted():
    return post(ledger.debit("1200", 700), ledger.credit("4000", 700))


def insert_line(entry_id, side="D", amount=1, currency="GBP"):
    with connection_of("billing").cursor() as cursor:
        cursor.execute(
            "INSERT INTO billing_journalline (entry_id, account_id, side, amount, currency)"
            " VALUES (%s, '1200', %s, %s, %s)",
            [entry_id, side, amount, currency],
        )


def insert_entry():
    entry_id = uuid7()
    with connection_of("billing").cursor() as cursor:
        cursor.execute(
            "INSERT INTO billing_journalentry (id, rule, source, occurred_at, written_by)"
            " VALUES (%s, 'invoice_issued', %s, %s, 0)",
            [entry_id, uuid7(), NOW],
        )
    return entry_id


def test_a_balanced_entry_is_kept_with_both_times():
    entry = posted()

    entry.refresh_from_db()
    assert entry.occurred_at == NOW
    assert entry.recorded_at != NOW
    assert [(one.code, one.balance) for one in trial_balance()] == [("1200", 700), ("4000", -700)]


def test_nothing_is_posted_outside_a_transaction():
    with pytest.raises(OutsideTransaction):
        ledger.post(ledger.Rule.INVOICE_ISSUED, uuid7(), currency="GBP", occurred_at=NOW)


def test_an_entry_that_does_not_balance_is_refused():
    with pytest.raises(IntegrityError, match="does not balance: debits minus credits are 1"):
        post(ledger.debit("1200", 701), ledger.credit("4000", 700))

    assert not JournalEntry.objects.exists()


def test_an_entry_without_lines_is_refused():
    with pytest.raises(IntegrityError, match="has no lines"):
        post()

    assert not JournalEntry.objects.exists()


def test_an_entry_in_two_currencies_is_refused():
    @transaction("billing")
    def write():
        entry_id = insert_entry()
        insert_line(entry_id, "D", 5, "GBP")
        insert_line(entry_id, "C", 5, "EUR")

    with pytest.raises(IntegrityError, match="mixes currencies"):
        write()

    assert not JournalEntry.objects.exists()


def test_lines_may_be_written_before_their_entry():
    with transaction("billing"):
        entry = JournalEntry(id=uuid7(), rule="invoice_issued", source=uuid7(), occurred_at=NOW)
        insert_line(entry.id, "D", 5)
        insert_line(entry.id, "C", 5)
        entry.save(force_insert=True)

    assert JournalLine.objects.count() == 2


def test_an_old_entry_takes_no_more_lines_even_if_they_balance():
    entry = posted()

    @transaction("billing")
    def write():
        insert_line(entry.id, "D", 5)
        insert_line(entry.id, "C", 5)

    with pytest.raises(IntegrityError, match="is closed"):
        write()

    assert JournalLine.objects.count() == 2


def test_checking_early_does_not_open_a_way_round_the_check():
    @transaction("billing")
    def write():
        entry_id = insert_entry()
        insert_line(entry_id, "D", 5)
        insert_line(entry_id, "C", 5)
        with connection_of("billing").cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")
        insert_line(entry_id, "D", 1)

    with pytest.raises(IntegrityError, match="does not balance"):
        write()

    assert not JournalEntry.objects.exists()


def test_nobody_pretends_that_an_entry_is_of_this_transaction():
    entry = posted()

    with (
        pytest.raises(IntegrityError, match="never changed"),
        connection_of("billing").cursor() as cursor,
    ):
        cursor.execute(
            "UPDATE billing_journalentry SET written_by = pg_current_xact_id()::text::bigint"
            " WHERE id = %s",
            [entry.id],
        )


@pytest.mark.parametrize("table", ["billing_journalentry", "billing_journalline"])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE {} SET id = id",
        "DELETE FROM {}",
        "TRUNCATE {} CASCADE",
    ],
)
def test_the_books_are_never_changed(table, statement):
    posted()

    with (
        pytest.raises(IntegrityError, match="never changed"),
        connection_of("billing").cursor() as cursor,
    ):
        cursor.execute(statement.format(table))

    assert (JournalEntry.objects.count(), JournalLine.objects.count()) == (1, 2)


@pytest.mark.parametrize(("side", "amount"), [("D", 0), ("D", -5), ("X", 5)])
def test_a_line_has_a_side_and_an_amount_above_zero(side, amount):
    with pytest.raises(IntegrityError), transaction("billing"):
        insert_line(insert_entry(), side, amount)


def test_a_fact_is_booked_once_by_each_rule():
    source = uuid7()
    lines = (ledger.debit("1200", 700), ledger.credit("4000", 700))
    post(*lines, source=source)

    with pytest.raises(IntegrityError, match="billing_journalentry_once"):
        post(*lines, source=source)

    assert JournalEntry.objects.count() == 1


def test_an_account_that_is_not_in_the_chart_is_refused():
    with pytest.raises(IntegrityError):
        post(ledger.debit("9999", 700), ledger.credit("4000", 700))


def test_the_chart_has_every_account_that_the_code_names():
    named = {
        value
        for name, value in vars(ledger).items()
        if name.isupper() and isinstance(value, str) and value.isdigit()
    }

    assert named == set(LedgerAccount.objects.values_list("code", flat=True))
