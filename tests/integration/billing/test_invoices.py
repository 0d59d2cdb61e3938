from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from django.db import IntegrityError
from django.db.models import F

from billing.handlers import CapturedSeen, RegisteredSeen, book_payment, open_account
from billing.invoices.services import LinesDoNotSum
from billing.models import (
    BillingAccount,
    Invoice,
    InvoiceSettlement,
    JournalEntry,
    Outbox,
    ReceivedPayment,
)
from billing.queries import invoice_for_order, invoice_of, invoices_of, trial_balance
from sagas.api import connection_of, transaction
from sagas.ids import uuid7
from tests.factories import an_invoice_command, carry_out

pytestmark = pytest.mark.usefixtures("committed_db")


def captured(command, **facts):
    """News of the payment for an order that is invoiced by the command."""
    return CapturedSeen(
        **{
            "payment_id": uuid7(),
            "purpose": "order",
            "purpose_id": command.order_id,
            "customer_id": command.customer_id,
            "amount": command.total,
            "currency": command.currency,
            "provider_ref": "in_1",
            "captured_at": datetime(2026, 11, 20, 12, tzinfo=UTC),
            **facts,
        }
    )


def hear(event, handler=book_payment):
    with transaction("billing"):
        handler(event)


def balances():
    return {one.code: one.balance for one in trial_balance() if one.balance}


def events():
    return list(Outbox.objects.order_by("position").values_list("type", flat=True))


def test_an_invoice_is_written_numbered_and_booked():
    command = an_invoice_command(500, 250)

    reply = carry_out(command)

    assert reply.number == "INV2026-000001"
    invoice = Invoice.objects.get(id=reply.invoice_id)
    assert (invoice.total, invoice.settled, invoice.status) == (750, 0, "open")
    assert list(invoice.lines.order_by("position").values_list("line_total", flat=True)) == [
        500,
        250,
    ]
    assert balances() == {"1200": 750, "4000": -750}
    assert events() == ["billing.AccountOpened", "billing.InvoiceIssued"]


def test_the_series_follows_the_business_date():
    numbers = [
        carry_out(an_invoice_command(1, business_date=day)).number
        for day in (date(2010, 12, 31), date(2011, 1, 1), date(2010, 12, 30))
    ]

    assert numbers == ["INV2010-000001", "INV2011-000001", "INV2010-000002"]


def test_an_order_is_invoiced_once():
    command = an_invoice_command(500)

    assert carry_out(command) == carry_out(command)

    assert Invoice.objects.count() == JournalEntry.objects.count() == 1


def test_a_command_that_contradicts_itself_is_a_fault():
    with pytest.raises(LinesDoNotSum):
        carry_out(replace(an_invoice_command(500), total=501))

    assert not Invoice.objects.exists()


@pytest.mark.parametrize("payment_first", [True, False])
def test_an_invoice_and_its_payment_find_each_other_in_either_order(payment_first):
    command = an_invoice_command(500, 250)
    news = captured(command)
    acts = [lambda: hear(news), lambda: carry_out(command)]

    for act in acts if payment_first else reversed(acts):
        act()

    invoice = Invoice.objects.get()
    assert (invoice.settled, invoice.status) == (750, "settled")
    settlement = InvoiceSettlement.objects.get()
    assert (settlement.source_id, settlement.amount) == (news.payment_id, 750)
    assert ReceivedPayment.objects.get().applied == 750
    assert balances() == {"1100": 750, "4000": -750}
    assert events().count("billing.InvoiceSettled") == 1


def test_news_of_a_payment_that_comes_twice_is_booked_once():
    command = an_invoice_command(500)
    news = captured(command)
    carry_out(command)

    hear(news)
    hear(news)

    assert balances() == {"1100": 500, "4000": -500}
    assert events().count("billing.InvoiceSettled") == 1


def test_what_is_paid_too_much_stays_with_the_customer():
    command = an_invoice_command(500)
    carry_out(command)

    hear(captured(command, amount=700))

    assert Invoice.objects.get().settled == 500
    assert balances() == {"1100": 700, "2100": -200, "4000": -500}


def test_an_invoice_paid_in_parts_is_settled_by_the_last():
    command = an_invoice_command(500)
    carry_out(command)

    hear(captured(command, amount=200))
    assert Invoice.objects.get().status == "open"
    hear(captured(command, amount=300))

    assert Invoice.objects.get().status == "settled"
    assert balances() == {"1100": 500, "4000": -500}


def test_money_in_another_currency_does_not_settle():
    command = an_invoice_command(500)
    carry_out(command)

    hear(captured(command, currency="EUR"))

    assert Invoice.objects.get().settled == 0
    assert ReceivedPayment.objects.get().applied == 0


def test_money_for_something_else_is_not_booked_here():
    hear(captured(an_invoice_command(500), purpose="subscription"))

    assert not ReceivedPayment.objects.exists()


def test_a_registered_customer_gets_one_account():
    event = RegisteredSeen(customer_id=uuid7(), customer_name="Alice", currency="GBP")

    hear(event, open_account)
    hear(event, open_account)

    account = BillingAccount.objects.get()
    assert (account.customer_id, account.name) == (event.customer_id, "Alice")
    assert events() == ["billing.AccountOpened"]


def test_an_account_learns_its_name_when_it_comes_after_the_money():
    command = an_invoice_command(500)
    hear(captured(command))

    hear(
        RegisteredSeen(customer_id=command.customer_id, customer_name="Bob", currency="GBP"),
        open_account,
    )

    assert BillingAccount.objects.get().name == "Bob"


def test_customers_see_their_own_invoices_only():
    command = an_invoice_command(500, 250)
    reply = carry_out(command)
    stranger = uuid7()

    shown = invoice_of(command.customer_id, reply.invoice_id)

    assert (shown.number, shown.total, len(shown.lines)) == (reply.number, 750, 2)
    assert invoice_for_order(command.customer_id, command.order_id) == shown
    assert [one.id for one in invoices_of(command.customer_id)] == [reply.invoice_id]
    assert invoices_of(command.customer_id, offset=1) == []
    assert invoices_of(stranger) == []
    assert invoice_of(stranger, reply.invoice_id) is None
    assert invoice_for_order(stranger, command.order_id) is None


@pytest.mark.parametrize(
    "change",
    [
        "total = total + 1",
        "customer_name = 'Mallory'",
        "number = number + 1",
        "business_date = business_date + 1",
        "issued_at = now()",
    ],
)
def test_an_issued_invoice_never_changes(change):
    carry_out(an_invoice_command(500))

    with (
        pytest.raises(IntegrityError, match="is issued"),
        connection_of("billing").cursor() as cursor,
    ):
        cursor.execute(f"UPDATE billing_invoice SET {change}")


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM billing_invoice",
        "TRUNCATE billing_invoice CASCADE",
        "DELETE FROM billing_invoiceline",
        "UPDATE billing_invoiceline SET line_total = 1",
        "TRUNCATE billing_invoiceline",
    ],
)
def test_an_issued_invoice_is_never_taken_away(statement):
    carry_out(an_invoice_command(500))

    with (
        pytest.raises(IntegrityError, match="never changed"),
        connection_of("billing").cursor() as cursor,
    ):
        cursor.execute(statement)


def test_an_issued_invoice_takes_no_more_lines():
    carry_out(an_invoice_command(500))

    with (
        pytest.raises(IntegrityError, match="takes no more lines"),
        connection_of("billing").cursor() as cursor,
    ):
        cursor.execute(
            "INSERT INTO billing_invoiceline (invoice_id, position, sku, description, quantity,"
            " unit_price, line_total) SELECT id, 2, 'MUG', 'A mug', 1, 0, 0 FROM billing_invoice"
        )


def test_an_invoice_whose_lines_do_not_sum_is_refused():
    with pytest.raises(IntegrityError, match="the lines sum to 0"), transaction("billing"):
        Invoice.objects.create(
            account=BillingAccount.objects.create(
                customer_id=uuid7(), number="A-1", currency="GBP"
            ),
            series="INV2026",
            number=1,
            order_id=uuid7(),
            order_number="1",
            customer_id=uuid7(),
            customer_name="Alice",
            currency="GBP",
            total=500,
            issued_at=datetime(2026, 11, 20, tzinfo=UTC),
            business_date=date(2026, 11, 20),
        )


@pytest.mark.parametrize(
    "facts", [{"settled": F("total") + 1}, {"settled": -1}, {"status": "settled"}]
)
def test_the_database_refuses_a_settlement_that_is_not_true(facts):
    carry_out(an_invoice_command(500))

    with pytest.raises(IntegrityError):
        Invoice.objects.update(**facts)
