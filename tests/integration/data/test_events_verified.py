"""The tables held against what was told, and what was true at an instant."""

import io
import json
from datetime import datetime, timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError

from billing.models import BillingAccount, Invoice
from orders.models import Order
from payments.events import PaymentDeclined
from payments.models import Payment
from sagas import append_only
from sagas.api import connection_of, publish, transaction, uuid7
from sagas.core import upcasting
from sagas.core.upcasting import upcasts
from sagas.models import SagaInstance, StepRun
from sagas.outbox.relay import relay
from sagas.streams import showing, verifying
from sagas.streams.reading import NoStream
from sagas.streams.showing import NothingTold, show
from sagas.streams.verifying import verify
from tests.databases import database_of, rows
from tests.factories import a_customer, a_method, a_sku, an_order
from tests.integration.data import world
from tests.integration.sagas.news import a_teller, tell
from tests.together import together

pytestmark = pytest.mark.usefixtures("committed_db")

CONTEXTS = ("orders", "billing", "payments")


@pytest.fixture
def shop(committed_db, session_provider):
    """Orders of every kind."""
    return world.make()


def run(*words):
    """What a command prints, and its exit code."""
    out = io.StringIO()
    try:
        call_command("events", *map(str, words), stdout=out, stderr=io.StringIO())
    except SystemExit as exited:
        return out.getvalue(), exited.code
    return out.getvalue(), 0


def plant(statement, parameters=()):
    """Change what no trigger would let through."""
    with database_of(statement).cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(statement, parameters)
        cursor.execute("SET session_replication_role = DEFAULT")


def found():
    return {(each.stream, each.field): (each.folded, each.stored) for each in differences()}


def differences():
    return verify(CONTEXTS).differences


def test_what_was_told_is_what_is_stored_whatever_has_become_of_an_order(shop, monkeypatch):
    monkeypatch.setattr(verifying, "PAGE", 2)

    text, code = run("verify", "--json")
    verdict = json.loads(text)
    assert (verdict["differences"], code) == ([], 0)
    assert verdict["rows"] == sum(
        model.objects.count() for model in (Order, Payment, Invoice, BillingAccount)
    ) + len(rows("SELECT 1 FROM orders_customer"))
    assert verdict["streams"] > 10
    assert "0 differences" in run("verify")[0]


def test_each_field_that_differs_is_named_with_both_values(shop):
    order, again = shop["good"], shop["again"]
    payment = Payment.objects.get(purpose_id=order.id)
    invoice = Invoice.objects.get(order_id=order.id)
    plant(
        "UPDATE orders_order SET status = 'canceled', total = 1, goods = 1, confirmed_at = NULL,"
        " closed_at = now(), reason = 'x' WHERE id = %s",
        [order.id],
    )
    plant("UPDATE payments_payment SET captured = captured - 1 WHERE id = %s", [payment.id])
    plant("UPDATE billing_invoice SET currency = 'EUR' WHERE id = %s", [invoice.id])
    plant("UPDATE orders_order SET event_sequence = 7 WHERE id = %s", [again.id])

    total = order.total
    assert found() == {
        (f"orders.order:{order.id}", "status"): ("confirmed", "canceled"),
        (f"orders.order:{order.id}", "total"): (total, 1),
        (f"orders.order:{order.id}", "goods"): (total, 1),
        (f"orders.order:{order.id}", "reason"): ("", "x"),
        (f"orders.order:{again.id}", "event_sequence"): (2, 7),
        (f"payments.payment:{payment.id}", "captured"): (total, total - 1),
        (f"billing.invoice:{invoice.id}", "currency"): ("GBP", "EUR"),
    }
    text, code = run("verify")
    assert code == 1
    assert f"payments.payment:{payment.id} captured: told {total}, stored {total - 1}" in text
    assert run("verify", "--context", "billing", "--json")[1] == 1


def test_holes_and_rows_and_words_that_are_not_in_the_history_are_named(shop):
    gone, lost, other = shop["good"], shop["again"], shop["declined"]
    stream = "FROM orders_event WHERE aggregateid = %s AND number = {}"
    plant(f"DELETE {stream.format(1)}", [gone.id])
    plant("DELETE FROM orders_outbox WHERE aggregateid = %s", [gone.id])
    plant(f"DELETE {stream.format(2)}", [lost.id])
    plant(
        "UPDATE orders_event SET payload = jsonb_set(payload, '{total}', '1')"
        " WHERE aggregateid = %s AND number = 1",
        [other.id],
    )

    named = found()
    assert named[f"orders.order:{gone.id}", "numbers"] == (
        "1 to 2, each once",
        "1 events, numbered 2 to 2",
    )
    assert named[f"orders.order:{lost.id}", "event 2"][1] == "sent, and not in the history"
    assert named[f"orders.order:{other.id}", "event 1"][1] == "in the history, with other words"
    assert named[f"orders.order:{other.id}", "total"] == (1, other.total)


def test_a_stream_whose_positions_do_not_grow_with_its_numbers_is_named():
    """A database that was put back, or moved, without the place of its sequence."""
    teller = a_teller()
    place = "SELECT setval(pg_get_serial_sequence('orders_outbox', 'position'), {})".format
    tell(teller, "a")
    relay("orders")
    rows(place(5_000_000))
    tell(teller, "b")
    tell(a_teller(), "in order")
    rows(place(4_000_000))
    tell(teller, "c", "d")
    named = {stream: said for (stream, what), said in found().items() if what == "positions"}
    said = ("grow with the numbers", "event 3 stands before the one it follows")
    assert named == {f"orders.customer:{teller.id}": said}


def test_rows_of_which_nothing_was_told_and_news_of_rows_that_are_gone_are_named():
    a_sku("MUG")
    order = an_order(("MUG", 1))
    plant("DELETE FROM orders_outbox WHERE aggregateid = %s", [order.id])
    plant("UPDATE orders_outbox SET aggregateid = %s", [stranger := uuid7()])

    assert found()[f"orders.order:{order.id}", "row"] == ("nothing was told of it", "is there")
    assert found()[f"orders.customer:{stranger}", "row"] == ("is there", None)


def test_a_row_that_need_not_be_told_of_and_whose_events_are_lost_is_named():
    buyer = a_customer()
    method = a_method(buyer)
    facts = {
        "purpose": "order",
        "purpose_id": uuid7(),
        "customer_id": buyer.id,
        "amount": 500,
        "currency": "GBP",
    }
    with transaction("payments"):
        declined, quiet = [
            Payment.objects.create(
                method_id=method, status="failed", live=False, provider_ref=ref, **facts
            )
            for ref in ("pi_1", "pi_2")
        ]
        publish(
            PaymentDeclined(payment_id=declined.id, provider_ref="pi_1", code="no", **facts),
            aggregate=declined,
        )
    assert found() == {}
    plant("DELETE FROM payments_outbox")  # before any relay has put it into the history

    assert Payment.objects.get(id=quiet.id).event_sequence == 0
    assert found() == {
        (f"payments.payment:{declined.id}", "row"): ("nothing was told of it", "is there")
    }


def test_an_event_that_cannot_be_read_is_a_difference_and_not_the_end():
    a_sku("MUG")
    order = an_order(("MUG", 1))
    plant("UPDATE orders_outbox SET version = 9 WHERE aggregateid = %s", [order.id])

    [difference] = differences()
    assert (difference.stream, difference.field) == (f"orders.order:{order.id}", "events")
    assert difference.folded == "NoUpcaster: orders.OrderPlaced: from version 9 to 1"


@pytest.fixture
def spoiled():
    """Two orders: one whose event is to be spoiled, and one that differs by itself."""
    a_sku("MUG")
    order, other = an_order(("MUG", 1)), an_order(("MUG", 1))
    plant("UPDATE orders_order SET reference = 'no' WHERE id = %s", [other.id])
    return order, other


def both_are_named(order, other):
    return set(found()) == {
        (f"orders.order:{order.id}", "events"),
        (f"orders.order:{other.id}", "reference"),
    }


@pytest.mark.parametrize("payload", ["[1]", '"text"', "null", "7"])
def test_a_payload_that_is_no_object_is_named_and_the_others_are_compared(spoiled, payload):
    plant(
        "UPDATE orders_outbox SET payload = %s::jsonb WHERE aggregateid = %s",
        [payload, spoiled[0].id],
    )
    assert both_are_named(*spoiled)


def test_an_upcaster_that_fails_at_one_event_is_named_and_the_others_are_compared(
    spoiled, monkeypatch
):
    monkeypatch.setattr(upcasting, "UPCASTERS", {})
    plant("UPDATE orders_outbox SET version = 0 WHERE aggregateid = %s", [spoiled[0].id])

    @upcasts("orders.OrderPlaced", 0)
    def renamed(payload):
        return {**payload, "total": payload["no such field"]}

    text, code = run("verify")
    assert both_are_named(*spoiled)
    assert code == 1
    with pytest.raises(CommandError, match="event 1: KeyError"):
        run("show", f"orders.order:{spoiled[0].id}")
    assert "told CannotFold: event 1: KeyError: 'no such field'" in text


def test_a_system_at_work_is_compared_at_one_moment(monkeypatch):
    """While the numbers are counted another order is placed and told."""
    a_sku("MUG", stock=100)
    an_order(("MUG", 1))
    count = verifying._count

    def meanwhile(context, verdict):
        torn = count(context, verdict)
        together(lambda: an_order(("MUG", 1)))
        return torn

    monkeypatch.setattr(verifying, "_count", meanwhile)
    assert verify(["orders"]).differences == []
    assert Order.objects.count() == 2


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize(
    ("off", "on", "why"),
    [
        ("DISABLE TRIGGER append_only", "ENABLE TRIGGER append_only", "is off"),
        ("DISABLE TRIGGER ALL", "ENABLE TRIGGER ALL", "is off"),
        ("ENABLE REPLICA TRIGGER append_only", "ENABLE TRIGGER append_only", "is off"),
    ],
)
def test_a_history_whose_guard_is_off_is_named(context, off, on, why):
    plant(f"ALTER TABLE {context}_event {off}")
    try:
        assert found() == {(f"{context}_event", "trigger append_only"): ("is on", why)}
        assert f"{context}_event trigger append_only: told is on, stored {why}" in run("verify")[0]
        assert run("verify", "--context", context)[1] == 1
    finally:
        plant(f"ALTER TABLE {context}_event {on}")
    assert found() == {}


def test_a_history_whose_guard_is_missing_is_named():
    rows("DROP TRIGGER append_only ON orders_event")
    try:
        assert found() == {("orders_event", "trigger append_only"): ("is on", "is missing")}
    finally:
        append_only.guard(connection_of("orders"), "orders_event")
    assert found() == {}


ALL = "BEFORE UPDATE OR DELETE OR TRUNCATE"
ITS_OWN = "EXECUTE FUNCTION orders_event_append_only()"


@pytest.mark.parametrize(
    "other",
    [
        f"BEFORE TRUNCATE ON orders_event FOR EACH STATEMENT {ITS_OWN}",
        f"BEFORE UPDATE OF type OR DELETE OR TRUNCATE ON orders_event FOR EACH STATEMENT {ITS_OWN}",
        f"BEFORE UPDATE OR DELETE ON orders_event FOR EACH ROW WHEN (old.actor = '') {ITS_OWN}",
        f"{ALL} ON orders_event FOR EACH STATEMENT WHEN (false) {ITS_OWN}",
        f"{ALL} ON orders_event FOR EACH STATEMENT EXECUTE FUNCTION orders_event_lenient()",
    ],
)
def test_a_guard_that_lets_rows_be_rewritten_is_named(other):
    rows(
        "CREATE FUNCTION orders_event_lenient() RETURNS trigger LANGUAGE plpgsql"
        " AS $$ BEGIN RETURN NULL; END $$"
    )
    try:
        rows(f"CREATE OR REPLACE TRIGGER append_only {other}")
        rows("UPDATE orders_event SET actor = 'operator:nobody'")
        assert found() == {("orders_event", "trigger append_only"): ("is on", "is another")}
    finally:
        append_only.guard(connection_of("orders"), "orders_event")
        rows("DROP FUNCTION orders_event_lenient()")
    assert found() == {}


def test_a_guard_whose_function_was_taken_out_is_named():
    [(schema,)] = rows(
        "SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = 'orders_event'::regclass"
    )
    rows(
        f"CREATE OR REPLACE FUNCTION {schema}.orders_event_append_only() RETURNS trigger"
        " LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$"
    )
    try:
        assert found() == {("orders_event", "trigger append_only"): ("is on", "is another")}
    finally:
        append_only.guard(connection_of("orders"), "orders_event")
    assert found() == {}
    with pytest.raises(IntegrityError, match="is append-only"):
        rows("UPDATE orders_event SET actor = 'operator:nobody'")


def test_another_context_than_there_is_is_wrong_use():
    with pytest.raises(CommandError, match="is no context") as refused:
        run("verify", "--context", "shipping")
    assert refused.value.returncode == 2


# -- as of -----------------------------------------------------------------------------------------


def times_of(stream):
    return [event.at for event in show(stream).events]


def test_an_order_is_shown_as_it_stood_at_an_instant(shop):
    stream = f"orders.order:{shop['good'].id}"
    placed, confirmed = times_of(stream)
    moment = timedelta(microseconds=1)

    assert show(stream).state["status"] == "confirmed"
    assert show(stream, confirmed).state["status"] == "confirmed"
    before = show(stream, confirmed - moment)
    assert (before.state["status"], before.state["total"]) == ("pending", shop["good"].total)
    assert show(stream, placed - moment).state is None
    assert show(stream, placed - moment).events == ()


def test_the_balances_of_an_account_are_those_of_the_instant(shop):
    account = BillingAccount.objects.get(customer_id=shop["good"].customer_id)
    stream = f"billing.billingaccount:{account.id}"
    [opened] = times_of(stream)
    [(first,)] = rows(
        "SELECT min(e.occurred_at) FROM billing_journalentry e JOIN billing_journalline l"
        f" ON l.entry_id = e.id WHERE l.party_id = '{account.id}'"
    )

    assert set(show(stream).state["balances"].values()) == {0}, "all that was owed is paid"
    then = show(stream, max(first, opened)).state["balances"]
    assert {abs(balance) for balance in then.values()} & {shop["good"].total, shop["again"].total}


def test_a_saga_is_shown_with_the_steps_it_had_done(shop):
    saga = SagaInstance.objects.get(id=shop["refused"].saga_id)
    stream = f"sagas.saga:{saga.id}"
    runs = list(StepRun.objects.filter(saga_id=saga.id).order_by("committed_at", "id"))
    moment = timedelta(microseconds=1)

    assert show(stream).state["status"] == "compensated"
    assert show(stream, saga.started_at - moment).state is None
    early = show(stream, runs[1].committed_at).state
    assert early["status"] == "running"
    assert early["steps"][-1]["at"] == runs[1].committed_at
    assert show(stream, saga.finished_at - moment).state["status"] == "compensating"
    assert show(stream, saga.finished_at).state["status"] == "compensated"


def test_a_stream_is_shown_on_a_terminal_and_as_json(shop):
    stream = f"orders.order:{shop['good'].id}"
    placed, _ = times_of(stream)

    text, _ = run("show", stream)
    assert "    2  " in text
    assert "orders.OrderConfirmed v1" in text
    assert "status = confirmed" in text
    shown = json.loads(run("show", stream, "--as-of", placed.isoformat(), "--json")[0])
    assert [event["type"] for event in shown["events"]] == ["orders.OrderPlaced"]
    assert shown["state"]["status"] == "pending"
    assert datetime.fromisoformat(shown["events"][0]["at"]) == placed
    assert "it was not there" in run("show", stream, "--as-of", "2001-01-01T00:00")[0]


def test_a_stream_that_nothing_folds_is_not_said_to_have_been_away(shop, monkeypatch):
    stream = f"orders.order:{shop['good'].id}"
    monkeypatch.setattr(showing, "FOLDS", {})

    text, _ = run("show", stream)
    assert "orders.OrderConfirmed v1" in text
    assert text.endswith("nothing says what its events come to: its aggregate has no fold\n")
    assert "it was not there" in run("show", stream, "--as-of", "2001-01-01T00:00")[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("show", "orders.order"), "names no stream"),
        (("show", f"shipping.parcel:{uuid7()}"), "names no stream"),
        (("show", f"orders.order:{uuid7()}"), "Nothing was ever told"),
        (("show", f"sagas.saga:{uuid7()}"), "There is no saga with this id"),
        (("show", f"orders.order:{uuid7()}", "--as-of", "tuesday"), "is no instant"),
        (("show", f"orders.order:{uuid7()}", "--as-of", "2026-13-01T00:00"), "is no instant"),
    ],
)
def test_what_cannot_be_shown_is_one_line_and_exit_code_2(words, said):
    with pytest.raises(CommandError, match=said) as refused:
        run(*words)
    assert refused.value.returncode == 2 or "instant" in said


def test_nothing_told_is_a_kind_of_no_stream():
    assert issubclass(NothingTold, NoStream)


def test_whoever_was_behind_with_the_clock_had_not_told_yet():
    """An event with an earlier time behind a later one was not there before that one."""
    a_sku("MUG")
    order = an_order(("MUG", 1))
    plant(
        "INSERT INTO orders_outbox (id, aggregatetype, aggregateid, sequence, type, version,"
        " payload, occurred_at, correlation_id) SELECT gen_random_uuid(), aggregatetype,"
        " aggregateid, 2, 'orders.OrderConfirmed', 1, payload, occurred_at - interval '1 hour', ''"
        " FROM orders_outbox WHERE aggregateid = %s",
        [order.id],
    )
    stream = f"orders.order:{order.id}"
    placed, confirmed = times_of(stream)
    assert confirmed < placed

    assert show(stream, confirmed).state is None
    assert show(stream, placed).state["status"] == "confirmed"
