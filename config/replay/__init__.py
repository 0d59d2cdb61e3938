"""Sending past sales through the real checkout, see ``docs/replay.md``.

The file is the Online Retail data of the UCI repository, given by its path. Every sale becomes
an order that the running workers carry out; at the end six books have to tell the same: the
file, orders, invoices, payments, the provider's own list and the ledger.
"""
