"""Invoices: written once, numbered without a gap, settled by the payments received."""
