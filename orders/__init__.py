"""The context of buying: customers, catalogue, stock, carts and orders.

It owns what a customer ordered and whether the goods are there, and it runs the checkout saga.
It does not own money (``payments``) nor what is owed and booked (``billing``); of both it keeps
ids only.
"""
