"""A rebuild, and the events that the context could not handle: discarded, or still waiting."""

from contextlib import suppress

import pytest

from orders.models import OrderBoard, Projection
from orders.projections import BOARD
from sagas.api import connection_of, publish, transaction
from sagas.failpoints import FailpointHit
from sagas.models import DeadLetter
from sagas.outbox import dead_letters, discarding, subscriptions
from sagas.projections import rebuild as rebuilding
from sagas.projections.rebuild import rebuild
from sagas.transactions import is_detached
from tests.databases import rows
from tests.integration.orders.board import close, ending, place, spread

pytestmark = pytest.mark.usefixtures("committed_db")


def board():
    return rows("SELECT * FROM orders_orderboard ORDER BY order_id")


@pytest.fixture
def poisoned(monkeypatch, settings):
    """No end of an order can be handled by its own context, until the list is emptied."""
    settings.SAGAS = {**settings.SAGAS, "HANDLER_ATTEMPTS": 1}
    why = ["the messages are out"]

    def handler(_seen):
        if why:
            raise RuntimeError(why[0])

    for name in ("orders.OrderFailed", "orders.OrderConfirmed"):
        key = (name, 1)
        [known, *others] = [
            each for each in subscriptions.SUBSCRIPTIONS[key] if each.context == "orders"
        ]
        beside = [each for each in subscriptions.SUBSCRIPTIONS[key] if each.context != "orders"]
        broken = type(known)(
            event=name, version=1, context="orders", payload=known.payload, handler=handler
        )
        monkeypatch.setitem(subscriptions.SUBSCRIPTIONS, key, [*beside, broken, known, *others])
    return why


@pytest.fixture
def stuck(poisoned):
    """Two orders, of which one has failed, and its context could not hear it."""
    place()
    order = place()
    close(order, "failed")
    spread()
    return order, DeadLetter.objects.get(context="orders")


def discard(letter):
    assert discarding.discard(letter.id, by="alice", reason="a test order")


def resend(letter, poisoned):
    poisoned.clear()
    assert dead_letters.resend(letter.id, by="alice", reason="mended")
    spread()


def tell(order, status):
    """Tell of another end; what the order itself says does not matter here."""
    with transaction("orders"):
        publish(ending(order, status), aggregate=order)


def status_of(order):
    return OrderBoard.objects.get(order_id=order.id).status


def test_what_was_discarded_is_not_put_in_again(stuck):
    order, letter = stuck
    discard(letter)
    live = board()
    assert status_of(order) == "pending"

    done = rebuild(BOARD)
    assert board() == live
    assert (done.rows, done.events) == (2, 2)


def test_what_the_table_itself_cannot_take_and_was_discarded_does_not_stop_a_rebuild(
    stuck, monkeypatch
):
    order, letter = stuck
    discard(letter)
    live = board()

    def unfit(_):
        raise ValueError(order.id)

    payload, _function = BOARD.handlers["orders.OrderFailed", 1]
    monkeypatch.setitem(BOARD.handlers, ("orders.OrderFailed", 1), (payload, unfit))
    rebuild(BOARD)
    assert board() == live


def test_what_comes_after_a_discarded_event_is_put_in(stuck, poisoned):
    order, letter = stuck
    discard(letter)
    poisoned.clear()
    tell(order, "confirmed")
    spread()
    live = board()
    assert status_of(order) == "confirmed"

    rebuild(BOARD)
    assert board() == live


def test_what_waits_behind_a_dead_letter_is_left_to_its_delivery(stuck, poisoned):
    order, letter = stuck
    tell(order, "confirmed")
    spread()
    live = board()

    rebuild(BOARD)
    assert board() == live
    assert status_of(order) == "pending"
    resend(letter, poisoned)
    assert status_of(order) == "confirmed"


def between_fill_and_change(monkeypatch, act):
    """Do something when the shadow is full, before the tables change places."""
    full = rebuilding._Work.catch_up

    def catch_up(work):
        full(work)
        act()

    monkeypatch.setattr(rebuilding._Work, "catch_up", catch_up)


def test_what_is_applied_while_the_table_is_built_is_in_it(stuck, poisoned, monkeypatch):
    order, letter = stuck
    tell(order, "confirmed")
    between_fill_and_change(monkeypatch, lambda: resend(letter, poisoned))

    rebuild(BOARD)
    assert status_of(order) == "confirmed"
    live = board()
    monkeypatch.undo()
    rebuild(BOARD)
    assert board() == live


def test_what_comes_behind_an_event_that_was_left_out_is_not_put_in_before_it(
    stuck, poisoned, monkeypatch
):
    """The page with the later event is read when its letter is closed already."""
    order, letter = stuck
    tell(order, "confirmed")
    monkeypatch.setattr(rebuilding, "PAGE", 3)

    def after_the_page(_come, _all):
        if poisoned and "orders" in Projection.objects.get(name=BOARD.name).read_to:
            resend(letter, poisoned)

    rebuild(BOARD, after_the_page)
    assert not poisoned
    built = board()
    assert status_of(order) == "confirmed"
    rebuild(BOARD)
    assert board() == built


def test_what_is_discarded_while_the_table_is_built_is_not_in_it(stuck, monkeypatch):
    order, letter = stuck
    between_fill_and_change(monkeypatch, lambda: discard(letter))

    rebuild(BOARD)
    assert status_of(order) == "pending"


@pytest.mark.skipif("not __import__('django.conf').conf.settings.CONTEXT_DATABASES")
def test_what_a_discard_that_died_between_its_two_commits_went_past_is_not_in_it(
    stuck, monkeypatch
):
    order, letter = stuck
    hits = []

    def dying(name, at=""):
        hits.append(name)
        if len(hits) == 2:
            raise FailpointHit(name)

    assert is_detached("orders")
    monkeypatch.setattr(discarding, "failpoint", dying)
    with suppress(FailpointHit):
        discard(letter)
    assert DeadLetter.objects.filter(id=letter.id, resolved_at=None).exists()

    rebuild(BOARD)
    assert status_of(order) == "pending"


def test_a_letter_that_is_open_although_its_event_is_applied_leaves_nothing_out(
    stuck, poisoned, monkeypatch
):
    """Applying and closing the letter are two commits; whoever does it dies between them."""
    order, letter = stuck
    monkeypatch.setattr(dead_letters, "settle_up_to", lambda *_: None)
    resend(letter, poisoned)
    assert DeadLetter.objects.filter(id=letter.id, resolved_at=None).exists()

    rebuild(BOARD)
    assert status_of(order) == "failed"


# -- a long past -----------------------------------------------------------------------------------


def test_no_statement_of_a_rebuild_reads_more_than_a_slice_of_the_past(monkeypatch):
    orders = [place() for _ in range(5)]
    for order in orders:
        close(order, "confirmed")
    spread()
    live, slices, told = board(), [], []
    # Positions go on from test to test.
    size = rebuilding.past.last_position("orders") // 4 + 1
    monkeypatch.setattr(rebuilding, "SLICE", size)
    really = rebuilding.past.events_of

    def reading(context, after, *, upto=None, **rest):
        if upto is not None:
            slices.append(upto - after)
        return really(context, after, upto=upto, **rest)

    monkeypatch.setattr(rebuilding.past, "events_of", reading)
    whole = []

    def watching(execute, sql, params, many, context):
        if "FROM \n(SELECT position" in sql and "position >" not in sql:
            whole.append(sql)
        return execute(sql, params, many, context)

    with connection_of("orders").execute_wrapper(watching):
        rebuild(BOARD, lambda read, all_: told.append((read, all_)))

    assert board() == live
    assert max(slices) == size
    assert whole == [], "and none counts it"
    assert [read <= all_ for read, all_ in told] == [True] * len(told)
    assert told == sorted(told)
