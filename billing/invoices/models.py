"""The tables of invoices."""

from typing import ClassVar

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from billing.accounts.models import BillingAccount
from billing.states import InvoiceStatus
from sagas.models import Aggregate


class NumberSeries(models.Model):
    """The next number of a series; a row and not a sequence, which leaves gaps."""

    series = models.CharField(max_length=20, primary_key=True)
    next = models.BigIntegerField()

    class Meta:
        verbose_name_plural = "number series"

    def __str__(self) -> str:
        """Return the name."""
        return self.series


class Invoice(Aggregate):
    """What a customer owes for one order; only its settlement may change (a trigger sees to it)."""

    account = models.ForeignKey(BillingAccount, on_delete=models.PROTECT, related_name="invoices")
    series = models.CharField(max_length=20)
    number = models.BigIntegerField()
    order_id = models.UUIDField(unique=True)
    order_number = models.CharField(max_length=20)
    customer_id = models.UUIDField()
    customer_name = models.CharField(max_length=200)
    currency = models.CharField(max_length=3)
    total = models.BigIntegerField()
    settled = models.BigIntegerField(default=0)
    status = models.CharField(max_length=16, default=InvoiceStatus.OPEN.value)
    issued_at = models.DateTimeField()
    business_date = models.DateField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["series", "number"], name="billing_invoice_number"),
            models.CheckConstraint(condition=Q(number__gte=1), name="billing_invoice_numbered"),
            models.CheckConstraint(condition=Q(total__gt=0), name="billing_invoice_total_positive"),
            models.CheckConstraint(
                condition=Q(settled__gte=0, settled__lte=F("total")),
                name="billing_invoice_not_oversettled",
            ),
            models.CheckConstraint(
                condition=Q(status="settled", settled=F("total"))
                | Q(status="open", settled__lt=F("total")),
                name="billing_invoice_status_is_true",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["customer_id", "-issued_at"], name="billing_invoice_customer")
        ]

    def __str__(self) -> str:
        """Return the printed number."""
        return self.label

    @property
    def label(self) -> str:
        """Return the number as it is printed."""
        return f"{self.series}-{self.number:06d}"


class InvoiceLine(models.Model):
    """One line of an invoice, copied from the order; never changed (a trigger sees to it)."""

    id = models.BigAutoField(primary_key=True)
    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="lines")
    position = models.PositiveIntegerField()
    sku = models.CharField(max_length=64)
    description = models.CharField(max_length=200)
    quantity = models.IntegerField()
    unit_price = models.DecimalField(max_digits=18, decimal_places=4)
    line_total = models.BigIntegerField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["invoice", "position"], name="billing_invoiceline_position"
            ),
            models.CheckConstraint(
                condition=Q(quantity__gt=0, line_total__gte=0),
                name="billing_invoiceline_positive",
            ),
        ]

    def __str__(self) -> str:
        """Return the item and its quantity."""
        return f"{self.quantity} x {self.sku}"


class InvoiceSettlement(models.Model):
    """A part of an invoice that is paid, and by what."""

    id = models.UUIDField(primary_key=True)
    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="settlements")
    source = models.CharField(max_length=20)
    source_id = models.UUIDField()
    amount = models.BigIntegerField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["invoice", "source", "source_id"], name="billing_invoicesettlement_once"
            ),
            models.CheckConstraint(
                condition=Q(amount__gt=0), name="billing_invoicesettlement_positive"
            ),
        ]

    def __str__(self) -> str:
        """Return the source and the amount."""
        return f"{self.source}: {self.amount}"


class ReceivedPayment(models.Model):
    """Money that payments said it captured; it may come before the invoice it pays."""

    payment_id = models.UUIDField(primary_key=True)
    account = models.ForeignKey(BillingAccount, on_delete=models.PROTECT, related_name="payments")
    order_id = models.UUIDField(db_index=True)
    amount = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    applied = models.BigIntegerField(default=0)
    provider_ref = models.CharField(max_length=100, blank=True, default="")
    captured_at = models.DateTimeField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(amount__gt=0), name="billing_receivedpayment_positive"
            ),
            models.CheckConstraint(
                condition=Q(applied__gte=0, applied__lte=F("amount")),
                name="billing_receivedpayment_not_overapplied",
            ),
        ]

    def __str__(self) -> str:
        """Return the payment and the amount."""
        return f"{self.payment_id}: {self.amount} {self.currency}"
