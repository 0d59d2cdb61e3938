"""The addresses of the invoices."""

from collections.abc import Callable
from typing import Any

from django.http import HttpResponse
from django.urls import URLPattern, path

from billing import views

Page = Callable[..., HttpResponse]


def invoice_pages(for_customer: Callable[[Page], Any]) -> list[URLPattern]:
    """Return the addresses.

    :param for_customer: gives a page the customer who signed in; this context knows customers by
        their ids only
    """
    return [
        path("", for_customer(views.invoices), name="invoices"),
        path("<uuid:invoice_id>/", for_customer(views.invoice), name="invoice"),
    ]
