"""Read models: tables made from events, which nothing but the engine writes."""

from django.db import models

from sagas.models import ProjectionBase, ProjectionRow, TimelineRow


class Projection(ProjectionBase):
    """How far each of this context's projections has come."""


class OrderBoard(ProjectionRow):
    """An order with what all three contexts say of it.

    Its events come in any order but that of their aggregate, so every column may still be empty.
    """

    order_id = models.UUIDField(primary_key=True)
    customer_id = models.UUIDField(null=True)
    number = models.CharField(max_length=20, db_default="")
    status = models.CharField(max_length=16, db_default="pending")
    reason = models.CharField(max_length=100, db_default="")
    currency = models.CharField(max_length=3, db_default="")
    total = models.BigIntegerField(null=True)
    business_date = models.DateField(null=True)
    payment = models.CharField(max_length=16, db_default="")
    invoice_number = models.CharField(max_length=40, db_default="")
    is_settled = models.BooleanField(db_default=False)

    def __str__(self) -> str:
        """Return the order's number."""
        return self.number


class CustomerAccess(ProjectionRow):
    """What a customer may use."""

    customer_id = models.UUIDField(primary_key=True)
    account_number = models.CharField(max_length=40, db_default="")
    currency = models.CharField(max_length=3, db_default="")
    can_be_billed = models.BooleanField(db_default=False)

    def __str__(self) -> str:
        """Return whose it is."""
        return str(self.customer_id)


class Timeline(TimelineRow):
    """Every event of all contexts, for the operators."""

    class Meta(TimelineRow.Meta):
        """The table ``orders_timeline``."""
