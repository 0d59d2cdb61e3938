"""Payments owns payment methods, holds and captures, and the log of every call that moves money.

It does not own prices, orders or invoices: it is told an amount and a purpose, and answers with
events.  Nobody else speaks with the payment provider, and what the provider says is recorded
here.
"""
