"""How billing carries out its commands."""

from billing.commands import IssuedInvoice, IssueInvoice
from billing.invoices import services
from sagas.api import handles


@handles(IssueInvoice)
def issue_invoice(command: IssueInvoice) -> IssuedInvoice:
    """Write the one invoice of an order and book it."""
    invoice = services.issue(command)
    return IssuedInvoice(invoice_id=invoice.id, number=invoice.label)
