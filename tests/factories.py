"""One function a thing: real objects, made by the services that make them in the product."""

import itertools
from datetime import date
from decimal import Decimal

from billing.commands import InvoiceLineInput, IssueInvoice
from orders.services import Line, NewSku, add_products, place_order, register_customer
from payments import api as payments
from sagas.api import transaction
from sagas.core.keys import Direction
from sagas.ids import uuid7
from sagas.orchestration.handlers import handler_of
from sagas.orchestration.run import RUN, Run

_number = itertools.count(1)


def a_customer(**facts):
    number = next(_number)
    return register_customer(
        **{"email": f"customer{number}@example.com", "name": f"Customer {number}", **facts}
    )


def a_sku(code="MUG", *, stock=10, price="250", currency="GBP"):
    add_products(
        [
            NewSku(
                code=code,
                name=f"The {code}",
                unit_price=Decimal(price),
                stock=stock,
                currency=currency,
            )
        ]
    )
    return code


def a_method(customer, token="card_good"):
    return payments.register_method(customer.id, token).id


def an_order(*lines, customer=None, token="card_good", **facts):
    """An order of (sku, quantity) pairs, placed."""
    buyer = customer or a_customer()
    return place_order(
        customer_id=buyer.id,
        lines=[Line(sku=sku, quantity=quantity) for sku, quantity in lines],
        payment_method_id=a_method(buyer, token),
        **facts,
    )


def carry_out(command, *, failure=None, canceled_by=None):
    """Carry a local command out as the engine does: in a transaction of its context."""
    handler = handler_of(command)
    run = Run(
        saga_id=uuid7(),
        saga_name="orders.checkout",
        step="step",
        step_no=0,
        direction=Direction.UNDO if failure else Direction.DO,
        effect_key="key",
        attempts=1,
        correlation_id="correlation",
        failure=failure,
        canceled_by=canceled_by,
    )
    token = RUN.set(run)
    try:
        with transaction(handler.context):
            return handler.carry_out(command)
    finally:
        RUN.reset(token)


def an_invoice_command(*amounts, customer_id=None, order_id=None, business_date=None, **facts):
    """A command to invoice an order with one line for each amount."""
    return IssueInvoice(
        **{
            "order_id": order_id or uuid7(),
            "order_number": "100001",
            "customer_id": customer_id or uuid7(),
            "customer_name": "Alice",
            "currency": "GBP",
            "total": sum(amounts),
            "business_date": business_date or date(2026, 11, 20),
            "lines": tuple(
                InvoiceLineInput(
                    position=position,
                    sku="MUG",
                    description="A mug",
                    quantity=1,
                    unit_price=Decimal(amount),
                    line_total=amount,
                )
                for position, amount in enumerate(amounts, start=1)
            ),
            **facts,
        }
    )
