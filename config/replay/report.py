"""The end of a replay, for people and for programs."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from config.replay.documents import PENCE, Documents
from config.replay.totals import (
    BOOKS,
    CAPTURED,
    FILE,
    INVOICES,
    MOST_NAMED,
    PROVIDER,
    Sum,
    Totals,
)


def as_document(documents: Documents, totals: Totals, seconds: float) -> dict[str, Any]:
    """Return what ``replay --json`` prints."""
    file = totals.books[FILE]
    return {
        "sale_invoices": file.documents,
        "sale_lines": file.lines,
        "sales_minor": file.minor,
        "customers": len(documents.customers),
        "cancellation_documents": documents.cancellation_documents,
        "cancellation_lines": documents.cancellation_lines,
        "cancellations_minor": documents.cancellations_minor,
        "captured_minor": totals.books[CAPTURED].minor,
        "provider_captured_minor": totals.books[PROVIDER].minor,
        "invoiced_minor": totals.books[INVOICES].minor,
        "refunded_minor": totals.refunded_minor,
        "provider_unknown_minor": totals.unknown_here_minor,
        "ledger_balanced": totals.ledger_balanced,
        "orders": totals.statuses,
        "books": {name: asdict(book) for name, book in totals.books.items()},
        "differences": totals.differences,
        "skipped": [asdict(skipped) for skipped in documents.skipped],
        "left_out": documents.left_out,
        "seconds": round(seconds, 3),
    }


def show(write: Callable[[str], Any], documents: Documents, totals: Totals, seconds: float) -> None:
    """Print the same as a table."""
    write(f"{'':40}{'documents':>10}{'lines':>10}{'GBP':>16}")
    for name in BOOKS:
        write(_row(name, totals.books[name]))
    canceled = Sum(
        documents=documents.cancellation_documents,
        lines=documents.cancellation_lines,
        minor=documents.cancellations_minor,
    )
    write(_row("cancellations in the file, not replayed", canceled))
    statuses = ", ".join(f"{count:,} {status}" for status, count in totals.statuses.items())
    write(f"{len(documents.customers):,} customers; orders: {statuses or 'none'}")
    for why, count in documents.left_out.items():
        write(f"{count:,} rows left out {why}")
    if totals.unknown_here_minor:
        amount = f"{totals.unknown_here_minor / PENCE:,.2f}"
        write(f"note: the provider has also taken {amount} that no payment here knows of")
    if documents.skipped:
        write(f"{len(documents.skipped):,} rows that cannot be read:")
        for skipped in documents.skipped[:MOST_NAMED]:
            write(f"  line {skipped.line} {skipped.why}")
    if totals.differences:
        write(f"{len(totals.differences):,} differences:")
        for difference in totals.differences[:MOST_NAMED]:
            write(f"  {difference}")
    else:
        write("all books agree, and the ledger balances")
    write(f"{seconds:.1f} s")


def _row(name: str, book: Sum) -> str:
    lines = "" if book.lines is None else f"{book.lines:,}"
    return f"{name:40}{book.documents:>10,}{lines:>10}{book.minor / PENCE:>16,.2f}"
