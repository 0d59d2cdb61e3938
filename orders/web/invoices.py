"""The invoices of whoever signed in: billing's pages, given the customer that it cannot know."""

from billing import api as billing
from orders.web.access import for_customer

app_name = "billing"
urlpatterns = billing.invoice_pages(for_customer)
