"""The box that takes any id."""

import pytest
from django.apps import apps
from django.urls import reverse
from django_celery_results.models import TaskResult

from billing.models import BillingAccount, Invoice, JournalEntry
from orders.models import Customer
from payments.models import Payment
from sagas.models import SagaInstance
from tests.integration.admin.world import a_dead_letter, a_finished_order, signed_in

pytestmark = pytest.mark.usefixtures("session_provider")


def page_of(label, key):
    return reverse(f"admin:{label}_change", args=[key])


def jump(client, text):
    response = client.get(reverse("admin:find"), {"q": text})
    return response.get("Location", response.status_code)


def test_every_kind_of_id_jumps_to_its_page():
    order = a_finished_order()
    client = signed_in("viewer")
    invoice, payment = Invoice.objects.get(), Payment.objects.get()
    saga = SagaInstance.objects.get()
    customer, account = Customer.objects.get(), BillingAccount.objects.get()
    event = apps.get_model("billing", "Outbox").objects.latest("position")
    entry, letter = JournalEntry.objects.first(), a_dead_letter()
    TaskResult.objects.create(task_id="task-1", task_name="sagas.run_link")

    assert {
        "order id": jump(client, str(order.id)),
        "order number": jump(client, order.number),
        "saga id": jump(client, f" {saga.id} "),
        "effect key": jump(client, f"{saga.id}:capture_payment:do"),
        "idempotency key": jump(client, f"{saga.id}:capture_payment:do:0"),
        "payment id": jump(client, str(payment.id)),
        "provider's reference": jump(client, payment.provider_ref),
        "invoice id": jump(client, str(invoice.id)),
        "invoice number": jump(client, invoice.label),
        "customer id": jump(client, str(customer.id)),
        "e-mail": jump(client, customer.email),
        "account number": jump(client, account.number),
        "event id": jump(client, str(event.id)),
        "ledger entry": jump(client, str(entry.id)),
        "dead letter": jump(client, str(letter.id)),
        "task id": jump(client, "task-1"),
        "item": jump(client, "MUG"),
    } == {
        "order id": page_of("orders_order", order.id),
        "order number": page_of("orders_order", order.id),
        "saga id": page_of("sagas_sagainstance", saga.id),
        "effect key": page_of("sagas_sagainstance", saga.id),
        "idempotency key": page_of("sagas_sagainstance", saga.id),
        "payment id": page_of("payments_payment", payment.id),
        "provider's reference": page_of("payments_payment", payment.id),
        "invoice id": page_of("billing_invoice", invoice.id),
        "invoice number": page_of("billing_invoice", invoice.id),
        "customer id": page_of("orders_customer", customer.id),
        "e-mail": page_of("orders_customer", customer.id),
        "account number": page_of("billing_billingaccount", account.id),
        "event id": page_of("billing_outbox", event.position),
        "ledger entry": page_of("billing_journalentry", entry.id),
        "dead letter": page_of("sagas_deadletter", letter.id),
        "task id": page_of(
            "django_celery_results_taskresult", TaskResult.objects.get(task_id="task-1").pk
        ),
        "item": page_of(
            "orders_stocklevel", apps.get_model("orders", "StockLevel").objects.get().pk
        ),
    }


def test_a_correlation_id_finds_its_saga():
    a_finished_order()
    saga = SagaInstance.objects.get()

    assert jump(signed_in("viewer"), saga.correlation_id) == page_of("sagas_sagainstance", saga.id)


@pytest.mark.parametrize(
    "text", ["", "nothing", "x\x00y", "9" * 400, "-5", "INV-99999999999999999999"]
)
def test_what_is_not_found_is_said(text):
    response = signed_in("viewer").get(reverse("admin:find"), {"q": text})

    assert response.status_code == 200
    assert response.context["hits"] == []


def test_nobody_finds_what_they_may_not_see():
    order = a_finished_order()

    assert jump(signed_in("staff"), order.number) == 200
    assert "/login/" in jump(signed_in("customer"), order.number)
