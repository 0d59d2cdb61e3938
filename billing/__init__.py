"""The context of what is owed and what is booked: accounts, invoices and the ledger.

It owns the party that is billed, invoices with numbers that have no gap, and the one set of
books. It does not own orders or the movements of money: of both it keeps copies of what it was
told, by a saga's command or by an event.
"""
