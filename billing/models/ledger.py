"""The books: accounts, entries and their lines. Triggers hold the rules of double entry."""

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class LedgerAccount(models.Model):
    """An account of the chart."""

    code = models.CharField(max_length=4, primary_key=True)
    name = models.CharField(max_length=100)

    def __str__(self) -> str:
        """Return the code and the name."""
        return f"{self.code} {self.name}"


class JournalEntry(models.Model):
    """One posting; unique by the rule that made it and the fact it books."""

    id = models.UUIDField(primary_key=True)
    rule = models.CharField(max_length=40)
    source = models.UUIDField()
    occurred_at = models.DateTimeField(help_text="When it happened.")
    recorded_at = models.DateTimeField(
        db_default=Now(), editable=False, help_text="When it was written."
    )
    # Filled by a trigger: which transaction wrote the entry, so that no later one adds a line.
    written_by = models.BigIntegerField(default=0, editable=False)

    class Meta:
        verbose_name_plural = "journal entries"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["rule", "source"], name="billing_journalentry_once")
        ]

    def __str__(self) -> str:
        """Return the rule and the fact."""
        return f"{self.rule} {self.source}"


class JournalLine(models.Model):
    """One side of a posting."""

    id = models.BigAutoField(primary_key=True)
    entry = models.ForeignKey(JournalEntry, on_delete=models.PROTECT, related_name="lines")
    account = models.ForeignKey(LedgerAccount, on_delete=models.PROTECT, related_name="lines")
    party_id = models.UUIDField(null=True, help_text="The billing account it concerns.")
    side = models.CharField(max_length=1, help_text="D or C.")
    amount = models.BigIntegerField()
    currency = models.CharField(max_length=3)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(side__in=["D", "C"]), name="billing_journalline_side"
            ),
            models.CheckConstraint(condition=Q(amount__gt=0), name="billing_journalline_positive"),
            models.CheckConstraint(
                condition=Q(currency__regex="^[A-Z]{3}$"), name="billing_journalline_currency"
            ),
        ]

    def __str__(self) -> str:
        """Return the side, the account and the amount."""
        return f"{self.side} {self.account_id} {self.amount} {self.currency}"
