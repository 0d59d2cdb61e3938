"""A shop for tests with real processes: a customer, goods, every test card; and the final count.

The count asks two witnesses: our tables, by plain SQL, and the provider's own list over HTTP.
"""

import io
import json
import urllib.request
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from django.conf import settings
from django.core.management import call_command

from orders.services import Line, NewSku, add_products, place_order, register_customer
from payments.api import register_method
from tests.databases import rows
from tests.processes import eventually

PRICE = 1250
CARDS = (
    "card_good",
    "card_declined",
    "card_insufficient_funds",
    "card_timeout_before",
    "card_timeout_after",
    "card_error_after",
    "card_slow",
    "card_capture_declined",
)


@dataclass(frozen=True)
class Shop:
    customer_id: UUID
    methods: dict[str, UUID]

    def buy(self, card="card_good", sku="MUG", quantity=1):
        """Place an order; the processes do the rest."""
        return place_order(
            customer_id=self.customer_id,
            lines=[Line(sku=sku, quantity=quantity)],
            payment_method_id=self.methods[card],
        )


def open_shop(stock=10_000) -> Shop:
    customer = register_customer(email="alice@example.test", name="Alice Example")
    add_products(
        [
            NewSku(code="MUG", name="Mug", unit_price=Decimal(PRICE), stock=stock),
            NewSku(code="RARE", name="Rare mug", unit_price=Decimal(PRICE), stock=0),
        ]
    )
    methods = {card: register_method(customer.id, card).id for card in CARDS}
    return Shop(customer.id, methods)


def one(sql, parameters=()):
    return rows(sql, parameters)[0][0]


def unfinished():
    return one("SELECT count(*) FROM sagas_saga WHERE finished_at IS NULL")


def wait_for_rest(timeout=60, meanwhile=lambda: None):
    """Wait until every saga has ended and every event has been applied by everybody."""

    def is_at_rest():
        meanwhile()
        return unfinished() == 0 or None

    try:
        eventually(is_at_rest, timeout, "all sagas end")
    except AssertionError as late:
        raise AssertionError(f"{late}; unfinished: {stuck()}") from late
    eventually(nothing_moves, 30, "all events are applied")


def nothing_moves():
    """Whether all has ended, and nothing of it has begun anything while that was looked at."""
    before = begun()
    return unfinished() == unsettled() == 0 and begun() == before


def stuck():
    return rows(
        "SELECT status, cursor, attempts, past_return, parked_reason, count(*) FROM sagas_saga"
        " WHERE finished_at IS NULL GROUP BY 1, 2, 3, 4, 5"
    )


def begun():
    """How many sagas and events there ever were."""
    tables = ["sagas_saga", *(f"{context}_outbox" for context in settings.CONTEXTS)]
    return [one(f"SELECT count(*) FROM {table}") for table in tables]


def unsettled():
    return sum(
        one(f"SELECT count(*) FROM {context}_outbox WHERE settled_at IS NULL")
        for context in settings.CONTEXTS
    )


def provider_intents():
    """The provider's own list, by our reference (the payment id)."""
    found, after = {}, ""
    while True:
        page = _get(f"/v1/intents?limit=1000{after and f'&after={after}'}")
        for intent in page["data"]:
            found.setdefault(intent["reference"], []).append(intent)
        if not page["has_more"]:
            return found
        after = page["data"][-1]["id"]


def misfortune(action, *, operation, times):
    """Let the provider do this to the next calls of an operation."""
    _ask(
        urllib.request.Request(
            f"{settings.PAYMENT_PROVIDER_URL}/control/faults",
            data=json.dumps({"action": action, "operation": operation, "times": times}).encode(),
            headers={
                "Authorization": f"Bearer {settings.PAYMENT_PROVIDER_KEY}",
                "Content-Type": "application/json",
            },
        )
    )


def _ask(request):
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.load(answer)


def _get(path):
    request = urllib.request.Request(
        f"{settings.PAYMENT_PROVIDER_URL}{path}",
        headers={"Authorization": f"Bearer {settings.PAYMENT_PROVIDER_KEY}"},
    )
    return _ask(request)


def count_the_money():
    """Assert that goods, money, invoices and ledger agree, order by order."""
    intents = provider_intents()
    for status, payment_id, total, order_id in rows(
        "SELECT status, payment_id, total, id FROM orders_order"
    ):
        own = intents.get(str(payment_id), [])
        captured = sum(intent["amount_captured"] for intent in own)
        held = sum(
            intent["amount_authorized"] for intent in own if intent["status"] == "authorized"
        )
        expected = total if status == "confirmed" else 0
        assert status in {"confirmed", "failed", "canceled"}, (status, order_id)
        assert (captured, held) == (expected, 0), (status, order_id, own)
        invoices = rows(
            "SELECT total, settled FROM billing_invoice WHERE order_id = %s", [order_id]
        )
        assert invoices == ([(total, total)] if expected else []), (status, order_id, invoices)
        told = one("SELECT count(*) FROM orders_notification WHERE order_id = %s", [order_id])
        assert told == 1, (status, order_id, told)
    assert_stock()
    assert_ledger()
    assert_journal()
    assert_invariants()
    assert_streams()


def assert_stock():
    wrong = rows(
        "SELECT l.sku, l.reserved, coalesce(sum(r.quantity), 0) FROM orders_stocklevel l"
        " LEFT JOIN orders_stockreservation r ON r.stock_id = l.id"
        " AND r.state = 'held'"
        " GROUP BY l.id HAVING l.reserved <> coalesce(sum(r.quantity), 0)"
    )
    assert wrong == []
    assert (
        rows(
            "SELECT r.state, o.status FROM orders_stockreservation r"
            " JOIN orders_order o ON o.id = r.order_id"
            " WHERE (r.state = 'committed') <> (o.status = 'confirmed') OR r.state = 'held'"
        )
        == []
    )


def assert_ledger():
    """Every entry balances; what customers paid is what was captured and what was invoiced."""
    assert (
        rows(
            "SELECT entry_id FROM billing_journalline GROUP BY entry_id, currency HAVING"
            " sum(CASE side WHEN 'D' THEN amount ELSE -amount END) <> 0"
        )
        == []
    )
    balance = dict(
        rows(
            "SELECT account_id, sum(CASE side WHEN 'D' THEN amount ELSE -amount END)"
            " FROM billing_journalline GROUP BY account_id"
        )
    )
    confirmed = one("SELECT coalesce(sum(total), 0) FROM orders_order WHERE status = 'confirmed'")
    assert balance.get("1100", 0) == confirmed
    assert balance.get("4000", 0) == -confirmed
    assert balance.get("1200", 0) == 0
    assert balance.get("2100", 0) == 0


def assert_journal():
    """One effect per key, and nothing of an undone saga is left standing."""
    assert (
        rows("SELECT effect_key FROM sagas_steprun GROUP BY effect_key HAVING count(*) > 1") == []
    )
    assert (
        rows(
            "SELECT s.id, d.name FROM sagas_saga s JOIN sagas_steprun d ON d.saga_id = s.id"
            " AND d.direction = 'do' AND d.state IN ('done', 'intended', 'rejected')"
            " LEFT JOIN sagas_steprun u ON u.saga_id = s.id AND u.direction = 'undo'"
            " AND u.step_no = d.step_no AND u.state IN ('done', 'nothing')"
            " WHERE s.status = 'compensated' AND u.id IS NULL"
        )
        == []
    )


def assert_invariants():
    """What `manage.py invariants` says, as an operator would ask it."""
    told = io.StringIO()
    try:
        call_command("invariants", "--json", "--at-rest", stdout=told)
    except SystemExit:
        pass
    found = json.loads(told.getvalue())["invariants"]
    assert [row for row in found if row["violations"]] == []
    assert len(found) >= 10


def assert_streams():
    """What `manage.py events verify` says: every table is what was told."""
    told = io.StringIO()
    try:
        call_command("events", "verify", "--json", stdout=told)
    except SystemExit:
        pass
    found = json.loads(told.getvalue())
    assert found["differences"] == []
    assert found["rows"] > 0
