import threading

import pytest

from billing.accounts.services import locked_account
from billing.handlers import CapturedSeen, book_payment
from billing.invoices import services
from billing.models import (
    BillingAccount,
    Invoice,
    InvoiceSettlement,
    JournalEntry,
    ReceivedPayment,
)
from billing.queries import trial_balance
from sagas.api import clock, transaction
from sagas.ids import uuid7
from tests.factories import an_invoice_command, carry_out
from tests.together import raised, together

pytestmark = pytest.mark.usefixtures("committed_db")


class Fails(Exception):
    """The transaction goes wrong after everything was written."""


def test_numbers_have_no_gap_although_a_third_is_rolled_back():
    def six_invoices(worker):
        for turn in range(6):
            command = an_invoice_command(100)
            try:
                with transaction("billing"):
                    services.issue(command)
                    if (worker + turn) % 3 == 0:
                        raise Fails
            except Fails:
                continue

    outcomes = together(*(lambda w=worker: six_invoices(w) for worker in range(8)))

    assert raised(outcomes) == []
    numbers = sorted(Invoice.objects.values_list("number", flat=True))
    assert numbers == list(range(1, 33))


def news_of(command, **facts):
    return CapturedSeen(
        **{
            "payment_id": uuid7(),
            "purpose": "order",
            "purpose_id": command.order_id,
            "customer_id": command.customer_id,
            "amount": command.total,
            "currency": command.currency,
            "provider_ref": "in_1",
            "captured_at": clock.now(),
            **facts,
        }
    )


def of_a_known_customer():
    """A command to invoice somebody whose account is there, so that only its lock keeps order."""
    command = an_invoice_command(500)
    with transaction("billing"):
        locked_account(command.customer_id, currency="GBP")
    return command


def hear(news):
    with transaction("billing"):
        book_payment(news)


def test_an_invoice_and_its_payment_at_the_same_moment_always_find_each_other():
    rounds = 25

    for _ in range(rounds):
        command = of_a_known_customer()
        news = news_of(command)
        assert raised(together(lambda c=command: carry_out(c), lambda n=news: hear(n))) == []

    assert Invoice.objects.filter(status="settled", settled=500).count() == rounds
    assert ReceivedPayment.objects.filter(applied=500).count() == rounds
    assert {one.code: one.balance for one in trial_balance() if one.balance} == {
        "1100": 500 * rounds,
        "4000": -500 * rounds,
    }


def test_the_payment_waits_for_an_invoice_that_is_being_written():
    command = of_a_known_customer()
    news = news_of(command)
    written, ended = threading.Event(), threading.Event()

    def issue_slowly():
        with transaction("billing"):
            services.issue(command)
            written.set()
            assert not ended.wait(0.5), "the payment did not wait for the account"

    def pay():
        assert written.wait(10)
        hear(news)
        ended.set()

    assert raised(together(issue_slowly, pay)) == []
    assert Invoice.objects.get().status == "settled"


def test_the_invoice_waits_for_a_payment_that_is_being_booked():
    command = of_a_known_customer()
    news = news_of(command)
    written, ended = threading.Event(), threading.Event()

    def pay_slowly():
        with transaction("billing"):
            book_payment(news)
            written.set()
            assert not ended.wait(0.5), "the invoice did not wait for the account"

    def issue():
        assert written.wait(10)
        carry_out(command)
        ended.set()

    assert raised(together(pay_slowly, issue)) == []
    assert Invoice.objects.get().status == "settled"


def test_the_first_invoice_and_payment_of_a_customer_open_one_account():
    command = an_invoice_command(500)
    news = news_of(command)

    assert raised(together(lambda: carry_out(command), lambda: hear(news))) == []

    assert BillingAccount.objects.count() == 1
    assert Invoice.objects.get().status == "settled"


def test_one_order_is_invoiced_once_by_many_at_the_same_moment():
    command = an_invoice_command(500)

    replies = together(*(lambda: carry_out(command) for _ in range(6)))

    assert len(set(replies)) == 1
    assert Invoice.objects.count() == JournalEntry.objects.count() == 1


def test_one_payment_told_by_many_at_the_same_moment_is_booked_once():
    command = an_invoice_command(500)
    carry_out(command)
    news = news_of(command)

    assert raised(together(*(lambda: hear(news) for _ in range(6)))) == []

    assert InvoiceSettlement.objects.count() == 1
    assert BillingAccount.objects.count() == 1
