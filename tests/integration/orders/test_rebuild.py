"""Building the order board anew beside the live one, while orders are placed and canceled."""

import json
import threading
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError

from orders.models import OrderBoard, Outbox, Projection
from orders.projections import ACCESS, BOARD
from sagas import failpoints
from sagas.api import publish, transaction
from sagas.failpoints import FailpointHit
from sagas.projections import lag as lagging
from sagas.projections import rebuild as rebuilding
from sagas.projections import shadow
from sagas.projections.lag import lag_of, note
from sagas.projections.rebuild import NeverQuiet, TakenOver, rebuild
from tests.databases import rows
from tests.integration.orders.board import close, ending, events_told, place, spread
from tests.together import PATIENCE, going_on, raised, together

pytestmark = pytest.mark.usefixtures("committed_db")


def board():
    """Every row as it stands."""
    return rows("SELECT * FROM orders_orderboard ORDER BY order_id")


def indexes(table="orders_orderboard"):
    return rows(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = %s ORDER BY 1", [table]
    )


def rules(table="orders_orderboard"):
    return rows(
        "SELECT conname, contype, pg_get_constraintdef(oid) FROM pg_constraint"
        f" WHERE conrelid = '{table}'::regclass ORDER BY 1"
    )


@pytest.fixture
def fail_at(monkeypatch):
    """Arms one place in this process, for its first pass."""
    monkeypatch.setattr(failpoints, "_hits", Counter())
    return lambda place: monkeypatch.setenv("CONCORD_FAILPOINTS", f"{place}=raise:1")


@pytest.fixture
def three_orders():
    first, second, third = place(), place(), place()
    close(second, "failed")
    close(third, "confirmed")
    spread()
    return first, second, third


# -- what it builds --------------------------------------------------------------------------------


def test_the_board_built_anew_is_the_live_one_row_by_row(three_orders):
    live = board()

    done = rebuild(BOARD)
    assert board() == live
    assert (done.rows, done.events, done.version) == (3, events_told(), 1)


def test_a_board_that_was_lost_comes_back_from_the_events(three_orders):
    live = board()
    rows("DELETE FROM orders_orderboard WHERE number <> ''")

    rebuild(BOARD)
    assert board() == live


def test_a_row_that_was_spoilt_by_hand_is_put_right(three_orders):
    live = board()
    rows("UPDATE orders_orderboard SET status = 'nonsense', seen = '{}'")

    rebuild(BOARD)
    assert board() == live


def test_the_table_keeps_the_names_and_rules_that_the_migrations_gave_it(three_orders):
    before = indexes(), rules()

    rebuild(BOARD)
    rebuild(BOARD)
    assert (indexes(), rules()) == before
    assert indexes(shadow.name_of("orders_orderboard")) == []


def test_the_roles_may_do_with_the_new_table_what_they_might_with_the_old(three_orders):
    asked = (
        "SELECT r.rolname, a.privilege_type FROM pg_class c, aclexplode(c.relacl) a"
        " JOIN pg_roles r ON r.oid = a.grantee WHERE c.oid = 'orders_orderboard'::regclass"
        " ORDER BY 1, 2"
    )
    before = rows(asked)

    rebuild(BOARD)
    assert rows(asked) == before


def test_events_that_are_told_and_not_delivered_are_in_the_new_board_and_change_nothing_later():
    order = place()

    rebuild(BOARD)
    built = board()
    assert OrderBoard.objects.get().order_id == order.id
    spread()
    assert board() == built


def test_pages_smaller_than_the_past_build_the_same(three_orders, monkeypatch):
    live = board()
    monkeypatch.setattr(rebuilding, "PAGE", 2)

    rebuild(BOARD)
    assert board() == live


# -- while events come -----------------------------------------------------------------------------


def test_rebuilt_again_and_again_under_load_it_is_row_by_row_what_it_is_after_quiet(monkeypatch):
    monkeypatch.setattr(rebuilding, "FEW", 5)
    counts = []

    def trade():
        order = place()
        close(order, "confirmed")

    def look():
        # A reader never sees less than was there: no half-built table, and no empty one.
        counts.append(OrderBoard.objects.count())

    for _ in range(5):
        place()
    spread()
    with going_on(trade, spread, spread, look):
        for _ in range(4):
            rebuild(BOARD)
    spread()

    live = board()
    assert counts == sorted(counts)
    assert counts[0] >= 5
    rebuild(BOARD)
    assert board() == live
    assert len(live) == len(rows("SELECT id FROM orders_order"))
    assert {row.status for row in OrderBoard.objects.all()} == {"pending", "confirmed"}


def test_an_event_that_commits_late_with_an_early_position_is_not_passed_by():
    early, late = place(), place()
    inside, go = threading.Event(), threading.Event()

    def slow():
        with transaction("orders"):
            publish(ending(early, "confirmed"), aggregate=early)
            inside.set()
            go.wait(PATIENCE)

    def others():
        inside.wait(PATIENCE)
        close(late, "failed")  # a later position, committed first
        threading.Timer(0.3, go.set).start()
        return rebuild(BOARD)

    assert raised(together(slow, others)) == []
    assert OrderBoard.objects.get(order_id=early.id).status == "confirmed"
    assert OrderBoard.objects.get(order_id=late.id).status == "failed"


def test_a_transaction_that_never_ends_stops_the_rebuild_and_not_the_board(
    three_orders, monkeypatch
):
    monkeypatch.setattr(rebuilding, "PATIENCE", 0.1)
    live = board()
    inside, over = threading.Event(), threading.Event()

    def endless():
        with transaction("orders"):
            publish(ending(three_orders[0], "confirmed"), aggregate=three_orders[0])
            inside.set()
            over.wait(PATIENCE)

    def build():
        inside.wait(PATIENCE)
        try:
            rebuild(BOARD)
        finally:
            over.set()

    assert [type(one) for one in raised(together(endless, build))] == [NeverQuiet]
    assert board() == live
    assert Projection.objects.get(name=BOARD.name).rebuilding_since is None


def test_a_reader_who_does_not_end_is_waited_for_without_holding_up_others(
    three_orders, monkeypatch
):
    monkeypatch.setattr(rebuilding, "LOCK_PATIENCE", 0.05)
    monkeypatch.setattr(rebuilding, "MOST_TRIES", 2)
    reading, over = threading.Event(), threading.Event()

    def reader():
        with transaction("orders"):
            OrderBoard.objects.count()
            reading.set()
            over.wait(PATIENCE)

    def build():
        reading.wait(PATIENCE)
        try:
            rebuild(BOARD)
        finally:
            over.set()

    assert [type(one) for one in raised(together(reader, build))] == [NeverQuiet]
    monkeypatch.undo()
    rebuild(BOARD)


# -- when it dies ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place_",
    [
        "rebuild.before_commit",
        "rebuild.begun",
        "rebuild.page.before_commit",
        "rebuild.page.committed",
        "rebuild.change.before_commit",
    ],
)
def test_a_rebuild_that_dies_leaves_the_live_board_and_is_begun_again(
    three_orders, fail_at, monkeypatch, place_
):
    live = board()
    fail_at(place_)
    with pytest.raises(FailpointHit):
        rebuild(BOARD)
    assert board() == live
    close(three_orders[0], "confirmed")
    spread()
    live = board()

    rebuild(BOARD)
    assert board() == live


def test_a_rebuild_that_dies_after_the_change_is_done(three_orders, fail_at):
    live = board()
    fail_at("rebuild.changed")

    with pytest.raises(FailpointHit):
        rebuild(BOARD)
    assert board() == live
    assert Projection.objects.get(name=BOARD.name).rebuilding_since is None


def test_a_second_rebuild_takes_over_and_the_first_ends(three_orders):
    live = board()
    seen = []

    def taken_over(_read, _all):
        if not seen:
            seen.append("second")
            rebuild(BOARD)

    with pytest.raises(TakenOver):
        rebuild(BOARD, taken_over)
    assert board() == live
    assert Projection.objects.get(name=BOARD.name).fencing_token == 2


def test_two_rebuilds_at_once_end_with_one_board(three_orders):
    live = board()

    ends = together(lambda: rebuild(BOARD), lambda: rebuild(BOARD))
    assert all(isinstance(one, TakenOver | OperationalError) for one in raised(ends))
    assert len(raised(ends)) < 2
    assert board() == live


def test_a_rebuild_that_gives_up_leaves_one_that_has_taken_over_alone():
    first = rebuilding._Work(projection=BOARD, token=rebuilding._begin(BOARD), said=lambda *_: None)
    rebuilding._begin(BOARD)

    first.give_up()
    assert Projection.objects.get(name=BOARD.name).rebuilding_since is not None


def test_of_two_projections_each_notes_its_own_rebuild(three_orders):
    rebuild(BOARD)
    built = Projection.objects.values().get(name=BOARD.name)

    rebuild(ACCESS)
    assert Projection.objects.values().get(name=BOARD.name) == built


def test_two_pages_of_a_rebuild_that_was_taken_over_leave_the_other_alone(three_orders):
    first = rebuilding._Work(projection=BOARD, token=rebuilding._begin(BOARD), said=lambda *_: None)
    second = rebuilding._begin(BOARD)

    for late in (first.catch_up, lambda: first.change_places(0.0)):
        with pytest.raises(TakenOver):
            late()
    state = Projection.objects.get(name=BOARD.name)
    assert (state.fencing_token, state.read_to, state.built_at) == (second, {}, None)


# -- how far it has come ---------------------------------------------------------------------------


def test_what_is_told_and_not_applied_is_the_lag():
    order = place()
    told = Outbox.objects.get(aggregateid=order.id).created_at
    lag = lag_of(BOARD)
    assert (lag.behind, lag.as_of) == (1, told)
    assert lag.seconds > 0

    spread()
    lag = lag_of(BOARD)
    assert (lag.behind, lag.seconds) == (0, 0.0)
    assert lag.as_of > told


def test_events_that_the_board_is_not_made_of_are_no_lag():
    with transaction("orders"):
        pass
    rebuild(BOARD)
    assert lag_of(BOARD).behind == 0


def test_a_tick_notes_beside_the_board_how_fresh_it_is():
    place()
    note()
    behind = Projection.objects.get(name=BOARD.name)
    assert behind.behind == 1

    spread()
    note()
    fresh = Projection.objects.get(name=BOARD.name)
    assert fresh.behind == 0
    assert fresh.as_of > behind.as_of


def test_a_tick_that_dies_after_it_noted_one_leaves_the_others_to_the_next(fail_at):
    place()
    spread()
    fail_at("lag.noted")
    with pytest.raises(FailpointHit):
        note()
    assert not Projection.objects.filter(name=BOARD.name).exists()

    note()
    assert Projection.objects.get(name=BOARD.name).behind == 0


def test_what_is_behind_is_noted_also_while_the_oldest_of_it_stays_the_same():
    order = place()
    note()
    before = Projection.objects.get(name=BOARD.name)
    close(order, "confirmed")
    place()

    note()
    after = Projection.objects.get(name=BOARD.name)
    assert (after.as_of, before.behind, after.behind) == (before.as_of, 1, 3)


def test_what_is_behind_is_noted_also_where_it_was_told_before_the_last_look_and_seen_after_it():
    spread()
    note()
    noted = Projection.objects.get(name=BOARD.name).as_of
    place()
    rows("UPDATE orders_outbox SET created_at = %s", [noted - timedelta(seconds=1)])

    note()
    after = Projection.objects.get(name=BOARD.name)
    assert (after.as_of, after.behind) == (noted, 1)


def test_a_slow_tick_does_not_make_a_board_older_than_it_is():
    place()
    spread()
    note()
    noted = Projection.objects.get(name=BOARD.name)

    old = replace(lag_of(BOARD), as_of=noted.as_of - timedelta(hours=1), behind=7)
    lagging._note("orders", old)
    assert Projection.objects.get(name=BOARD.name).as_of == noted.as_of

    note()
    after = Projection.objects.get(name=BOARD.name)
    assert (after.as_of > noted.as_of, after.behind) == (True, 0)


def test_a_board_built_by_other_handlers_is_out_of_date_until_it_is_built_anew(monkeypatch):
    rebuild(BOARD)
    assert not lag_of(BOARD).is_out_of_date

    monkeypatch.setattr(BOARD, "version", 2)
    assert lag_of(BOARD).is_out_of_date
    rebuild(BOARD)
    assert not lag_of(BOARD).is_out_of_date


def test_the_command_shows_the_lag_and_ends_with_one_when_there_is_any(capsys):
    place()
    with pytest.raises(SystemExit) as ended:
        call_command("projections", "lag", "--json")
    assert ended.value.code == 1
    found = {one["name"]: one for one in json.loads(capsys.readouterr().out)["projections"]}
    assert found["orders.board"]["behind"] == 1

    spread()
    call_command("projections", "lag")
    assert "orders.board" in capsys.readouterr().out


def test_the_command_builds_anew_and_says_what_it_did(three_orders, capsys):
    call_command("projections", "rebuild", "orders.board", "--json")

    said = capsys.readouterr()
    [done] = json.loads(said.out)["rebuilt"]
    assert (done["name"], done["rows"], done["events"]) == ("orders.board", 3, events_told())
    assert "[####" in said.err


def test_the_command_says_in_a_line_what_it_cannot_read_and_is_over():
    order = place()
    close(order, "confirmed")
    rows("UPDATE orders_outbox SET version = 9 WHERE type = 'orders.OrderConfirmed'")
    live = board()

    said = r"^orders\.board: orders\.OrderConfirmed version 9 is none that it reads;"
    with pytest.raises(CommandError, match=said):
        call_command("projections", "rebuild", "orders.board")
    state = Projection.objects.get(name=BOARD.name)
    assert (state.rebuilding_since, state.built_at, board()) == (None, None, live)


def test_the_command_refuses_a_name_that_is_none(capsys):
    with pytest.raises(CommandError, match=r"orders\.board") as refused:
        call_command("projections", "rebuild", "orders.bored")
    assert refused.value.returncode == 2
