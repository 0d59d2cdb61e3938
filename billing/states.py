"""The states of an invoice and the moves between them, as data."""

from collections.abc import Mapping
from enum import StrEnum


class InvoiceStatus(StrEnum):
    """Where an invoice stands."""

    OPEN = "open"
    SETTLED = "settled"


INVOICE_TRANSITIONS: Mapping[InvoiceStatus, frozenset[InvoiceStatus]] = {
    InvoiceStatus.OPEN: frozenset({InvoiceStatus.SETTLED}),
    InvoiceStatus.SETTLED: frozenset(),
}


def sources_of(target: InvoiceStatus) -> tuple[InvoiceStatus, ...]:
    """Return the states from which an invoice may move to another."""
    return tuple(source for source, targets in INVOICE_TRANSITIONS.items() if target in targets)
