"""Events found in the database's own log: handed over, marked, and only then is the slot moved."""

import threading
from collections import Counter

import pytest
from django.core.management import CommandError, call_command
from django.db import InterfaceError, OperationalError, connections
from django.urls import reverse

from orders.models import Outbox
from sagas import failpoints
from sagas.api import publish, transaction
from sagas.failpoints import FailpointHit
from sagas.orchestration import canvas
from sagas.outbox import slots, tailing
from sagas.outbox.pgoutput import UnreadableLog
from sagas.outbox.relay import relay
from sagas.outbox.slots import NotTailable
from sagas.outbox.tailing import Refused
from sagas.tasks import watch_slots
from sagas.transactions import alias_of, connection_of
from tests.integration.admin.world import signed_in
from tests.integration.sagas import trial
from tests.integration.sagas.news import Told, a_teller, listen, outbox, tell
from tests.processes import eventually
from tests.together import PATIENCE, raised, together

pytestmark = pytest.mark.usefixtures("nobody_listens", "tailed")
ORDERS = "orders"


@pytest.fixture
def fail_at(monkeypatch):
    monkeypatch.setattr(failpoints, "_hits", Counter())
    return lambda place: monkeypatch.setenv("CONCORD_FAILPOINTS", f"{place}=raise:1")


@pytest.fixture
def here():
    """The database in which the outbox of orders lies."""
    return alias_of(ORDERS)


@pytest.fixture
def tailed(trial_saga):
    for alias in slots.databases():
        slots.set_up(alias)
    yield
    for alias in slots.databases():
        slots.drop(alias)


def run(statement, parameters=()):
    with connection_of(ORDERS).cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []


def flush():
    """Let the log be on disk, which the servers of the tests put off: only that can be read."""
    run(
        "BEGIN; SET LOCAL synchronous_commit = on;"
        " SELECT pg_logical_emit_message(true, 'trial', ''); COMMIT"
    )


def tail(here):
    flush()
    return tailing.tail(here)


def alter_server(name, value):
    """Let a setting of the server be in force in all its processes.

    When this session has read it the server has told them all, and whoever carries out a
    checkpoint reads it before that at the latest.
    """
    run(f"ALTER SYSTEM SET {name} = '{value}'")
    run("SELECT pg_reload_conf()")
    eventually(lambda: run(f"SHOW {name}") == [(value,)], PATIENCE, f"{name} is {value}")
    run("CHECKPOINT")


def reset_server(name):
    run(f"ALTER SYSTEM RESET {name}")
    run("SELECT pg_reload_conf()")


def delivered(broker):
    """The event ids of all delivery messages, in their order."""
    sent = [message for message in broker.take() if message.task == "sagas.deliver"]
    return [event_id for message in sent for event_id in message.args[2]]


def read_up_to(here):
    [(place,)] = run(
        "SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = %s",
        [slots.slot_of(here)],
    )
    return place


def test_an_event_is_found_in_the_log_published_and_marked(broker, here):
    listen()
    [event_id] = tell(a_teller(), "hello")

    assert tail(here) == 1
    assert delivered(broker) == [event_id]
    assert outbox(event_id=event_id).published_at is not None
    assert tail(here) == 0
    assert relay() == 0


def test_events_come_in_the_order_of_their_commits_not_of_their_positions(broker, here):
    listen()
    first, second = a_teller(), a_teller()
    written, committed = threading.Event(), threading.Event()

    def slow():
        with transaction(ORDERS):
            found = str(publish(Told(text="slow"), aggregate=first))
            written.set()
            assert committed.wait(PATIENCE)
        return found

    def quick():
        assert written.wait(PATIENCE)
        found = tell(second, "quick")
        committed.set()
        return found[0]

    late, early = together(slow, quick)
    assert tail(here) == 2
    assert delivered(broker) == [early, late]


def test_a_transaction_that_was_rolled_back_is_not_in_the_log(broker, here):
    listen()
    teller = a_teller()

    def changes_its_mind():
        with transaction(ORDERS):
            publish(Told(text="never"), aggregate=teller)
            raise KeyError

    with pytest.raises(KeyError):
        changes_its_mind()
    kept = tell(teller, "kept")

    assert tail(here) == 1
    assert delivered(broker) == kept


def test_a_very_large_transaction_is_handed_over_in_batches(broker, here, settings, monkeypatch):
    settings.SAGAS = {**settings.SAGAS, "RELAY_BATCH": 100}
    monkeypatch.setattr(tailing, "MOST_CHANGES", 10)
    listen()
    tell(a_teller(), *map(str, range(1050)))
    batches = []
    monkeypatch.setattr(tailing, "hand_over", lambda _, rows: batches.append(len(rows)) is None)

    assert tail(here) == 1050
    assert batches == [100] * 10 + [50]


def test_a_large_transaction_of_which_half_was_published_goes_on_with_the_rest(
    broker, here, settings, monkeypatch
):
    settings.SAGAS = {**settings.SAGAS, "RELAY_BATCH": 2}
    listen()
    ids = tell(a_teller(), *"abcde")
    answers = iter([True, False])
    with monkeypatch.context() as refusing:
        refusing.setattr(canvas, "publish", lambda *_, **__: next(answers))
        with pytest.raises(Refused):
            tail(here)
    broker.take()
    assert Outbox.objects.filter(published_at=None).count() == 3

    assert tail(here) == 3
    assert delivered(broker) == ids[2:]


@pytest.mark.parametrize(
    ("place", "sent_before", "sent_after"),
    [
        ("tail.read", 0, 1),
        ("relay.published", 1, 1),
        ("relay.committed", 1, 0),
        ("tail.handed_over", 1, 0),
        ("tail.advanced", 1, 0),
    ],
)
def test_a_tailer_that_dies_loses_nothing_and_every_event_is_applied_once(
    broker, here, fail_at, place, sent_before, sent_after
):
    listen()
    [event_id] = tell(a_teller(), "hello")
    broker.take()
    fail_at(place)
    with pytest.raises(FailpointHit):
        tail(here)
    first = broker.take()
    assert len(first) == sent_before

    assert tail(here) == sent_after
    again = broker.take()
    for message in first + again:
        broker.run_chain(message)
    assert trial.effects() == ["billing:hello#1"]
    assert outbox(event_id=event_id).published_at is not None


def test_a_tailer_killed_after_publishing_and_before_the_slot_moved_reads_it_again(
    broker, here, fail_at
):
    listen()
    tell(a_teller(), "hello")
    before = read_up_to(here)
    fail_at("tail.handed_over")
    with pytest.raises(FailpointHit):
        tail(here)
    assert read_up_to(here) == before

    assert tail(here) == 0, "read again, and found marked"
    assert read_up_to(here) != before


@pytest.mark.parametrize("place", ["tail.read", "relay.published", "relay.committed"])
def test_a_session_that_is_cut_in_a_look_is_a_database_that_is_away(broker, here, place):
    """Whoever looks goes on for that, and for no other error of the driver."""
    listen()
    [event_id] = tell(a_teller(), "hello")
    reader = connections[here].connection.info.backend_pid

    def cut(reached, _):
        if reached == place:
            [gone] = together(lambda: run("SELECT pg_terminate_backend(%s, 20000)", [reader]))
            assert gone == [(True,)]

    with failpoints.listening(cut), pytest.raises((OperationalError, InterfaceError)):
        tail(here)
    connections.close_all()

    tail(here)
    assert outbox(event_id=event_id).published_at is not None


def test_when_the_broker_refuses_neither_mark_nor_slot_moves(broker, here, monkeypatch):
    listen()
    [event_id] = tell(a_teller(), "hello")
    before = read_up_to(here)
    with monkeypatch.context() as refusing:
        refusing.setattr(canvas, "publish", lambda *_, **__: False)
        with pytest.raises(Refused):
            tail(here)

    assert outbox(event_id=event_id).published_at is None
    assert read_up_to(here) == before
    assert tail(here) == 1


def test_tailer_and_relay_at_once_publish_everything(broker, here, settings):
    settings.SAGAS = {**settings.SAGAS, "RELAY_BATCH": 7}
    listen()
    ids = [event_id for _ in range(10) for event_id in tell(a_teller(), *"abcdefghij")]

    counts = together(relay, lambda: tail(here), relay, lambda: tail(here))

    assert raised(counts) == []
    tail(here)
    assert set(delivered(broker)) == set(ids)
    assert Outbox.objects.filter(published_at=None).count() == 0


def test_two_tailers_at_once_lose_nothing_and_move_the_slot_no_further_than_they_read(
    broker, here, settings
):
    settings.SAGAS = {**settings.SAGAS, "RELAY_BATCH": 7}
    listen()
    tellers = [a_teller() for _ in range(4)]
    done = threading.Event()
    looks = []

    def writer():
        ids = [i for n in range(20) for teller in tellers for i in tell(teller, str(n))]
        done.set()
        return ids

    def tailer():
        while not done.is_set():
            looks.append(tail(here))

    ids, *others = together(writer, tailer, tailer)

    assert raised(others) == []
    tail(here)
    assert set(delivered(broker)) == set(ids)
    assert Outbox.objects.filter(published_at=None).count() == 0


def test_a_tailer_that_was_overtaken_does_not_move_the_slot_back(broker, here, monkeypatch):
    listen()
    [event_id] = tell(a_teller(), "first")
    told = []

    def overtaken(signature, **_):
        broker.sent.append(signature)
        if not told:
            told.extend(tell(a_teller(), "second"))
            tail(here)
            told.append(read_up_to(here))
        return True

    monkeypatch.setattr(canvas, "publish", overtaken)
    tail(here)

    assert read_up_to(here) == told[1]
    assert set(delivered(broker)) == {event_id, told[0]}


def test_a_column_that_is_added_and_dropped_meanwhile_changes_nothing(broker, here):
    listen()
    ids = tell(a_teller(), "before")
    run("ALTER TABLE orders_outbox ADD COLUMN trial text DEFAULT 'x'")
    ids += tell(a_teller(), "between")
    run("ALTER TABLE orders_outbox DROP COLUMN trial")
    ids += tell(a_teller(), "after")

    assert tail(here) == 3
    assert delivered(broker) == ids


def test_an_outbox_whose_position_is_called_otherwise_stops_the_tailer_before_it_moves(
    broker, here
):
    listen()
    tell(a_teller(), "before")
    run("ALTER TABLE orders_outbox RENAME COLUMN position TO place")
    try:
        run(
            "INSERT INTO orders_outbox (id, aggregatetype, aggregateid, sequence, type, version,"
            " payload, occurred_at, correlation_id) SELECT gen_random_uuid(), aggregatetype,"
            " aggregateid, sequence + 1, type, version, payload, now(), '' FROM orders_outbox"
        )
        before = read_up_to(here)
        with pytest.raises(UnreadableLog, match="not the position of an outbox"):
            tail(here)
        assert read_up_to(here) == before
    finally:
        connection_of(ORDERS).close()
        run("ALTER TABLE orders_outbox RENAME COLUMN place TO position")


def test_without_its_slot_the_tailer_says_what_to_do_and_the_relay_goes_on(broker, here):
    listen()
    tell(a_teller(), "hello")
    assert slots.drop_slot(here)

    with pytest.raises(NotTailable, match=r"does not exist.*outbox tail --setup"):
        tail(here)
    assert slots.look(here).trouble.endswith("is not tailed: its slot is not there.")
    assert relay() == 1


@pytest.fixture
def small_ceiling_of_the_server(here):
    """The server itself throws the log away that a slot has still to read."""
    alter_server("max_slot_wal_keep_size", "1MB")
    yield
    reset_server("max_slot_wal_keep_size")


def write_much():
    for _ in range(4):
        run("SELECT pg_logical_emit_message(true, 'trial', 'much')")
        run("SELECT pg_switch_wal()")


def test_a_slot_that_the_server_gave_up_is_named_and_set_up_anew(
    broker, here, small_ceiling_of_the_server
):
    listen()
    tell(a_teller(), "lost to the log")
    write_much()
    run("CHECKPOINT")

    with pytest.raises(NotTailable, match="outbox tail --setup"):
        tail(here)
    assert "thrown away" in slots.look(here).trouble
    assert relay() == 1, "the outbox has what the log has not"
    assert slots.set_up(here)
    [event_id] = tell(a_teller(), "again")
    assert tail(here) == 1
    assert delivered(broker)[-1] == event_id


def test_a_slot_that_keeps_more_than_its_ceiling_is_dropped_with_an_alert(
    broker, here, settings, caplog
):
    settings.SAGAS = {**settings.SAGAS, "TAIL_CEILING": 16}
    listen()
    tell(a_teller(), "hello")
    assert slots.watch() == []
    write_much()

    assert slots.watch() == list(slots.databases())
    assert "tail_dropped" in {record.message for record in caplog.records}
    assert "MB of log were kept for it" in slots.look(here).trouble
    assert slots.watch() == []
    assert relay() == 1
    assert slots.set_up(here)
    assert slots.look(here).trouble == ""


def test_a_slot_that_is_read_keeps_no_log_although_nothing_of_ours_is_in_it(here):
    write_much()
    run("CHECKPOINT")
    before = read_up_to(here)

    assert tail(here) == 0
    assert read_up_to(here) != before


def test_a_slot_that_is_read_keeps_little_log_however_much_the_server_writes(here):
    write_much()
    before = slots.look(here).retained

    assert before > 3 * 16 * slots.MEGABYTE
    # A transaction of another database on the same server may hold the log a little longer.
    eventually(lambda: tail(here) == 0 and slots.look(here).retained < slots.MEGABYTE)


def test_what_is_in_the_log_and_not_yet_seen_by_others_waits_for_the_next_look(broker, here):
    """A commit that waits for another server is in the log, and its rows are not there yet."""
    listen()
    teller, other = a_teller(), a_teller()
    [event_id] = tell(other, "before")
    alter_server("synchronous_standby_names", "nobody")

    def waits():
        run("SET synchronous_commit = on")
        return tell(teller, "hello")

    def looks():
        try:
            wait_for("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
            first = tailing.tail(here)
            write_much()
            found = first, tailing.tail(here), len(delivered(broker))
        finally:
            reset_server("synchronous_standby_names")
        return found

    ids, found = together(waits, looks)

    assert found == (1, 0, 1), event_id
    assert tail(here) == 1
    assert delivered(broker) == ids


def wait_for(count):
    eventually(lambda: run(count)[0][0] == 1, PATIENCE, count)


def test_transactions_are_told_apart_when_their_numbers_have_gone_round(here):
    seen = tailing._Seen(here)
    seen.next, seen.open = (7 << 32) + 5, {(7 << 32) + 3}

    open_ones = [xid for xid in (2**32 - 1, 2, 3, 4, 5, 6) if seen._is_open(xid)]

    assert open_ones == [3, 5, 6]


# -- the command -----------------------------------------------------------------------------------


def test_the_command_sets_up_hands_over_and_drops(broker, here, capsys):
    listen()
    call_command("outbox", "tail", "--setup")
    tell(a_teller(), "hello")
    flush()
    call_command("outbox", "tail", "--once")
    call_command("outbox", "tail", "--drop", "--yes")

    said = capsys.readouterr().out
    assert f"{here}: can be tailed already" in said
    assert f"{here}: 1 published" in said
    assert f"{here}: dropped" in said
    assert not slots.look(here).has_slot
    assert not slots.look(here).is_wanted


def test_once_goes_up_to_the_end_of_the_log_also_past_what_the_relay_has_marked(
    broker, here, monkeypatch, capsys
):
    monkeypatch.setattr(tailing, "MOST_CHANGES", 2)
    listen()
    for text in "abcd":
        tell(a_teller(), text)
    relay()  # which runs beside, as ever
    [late] = tell(a_teller(), "late")
    flush()
    call_command("outbox", "tail", "--once")
    assert outbox(event_id=late).published_at is not None
    assert f"{here}: 1 published" in capsys.readouterr().out


def test_once_ends_at_what_the_log_held_when_it_began_and_moves_the_slot_no_further(
    broker, here, monkeypatch
):
    """While it reads, others tell on and on, and much else is written."""
    monkeypatch.setattr(tailing, "MEGABYTE", 0)
    listen()
    [early] = tell(a_teller(), "early")
    flush()
    told = []

    def tell_more(place, _):
        if place == "tail.read":
            told.extend(tell(a_teller(), "later"))
            flush()

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(tailing, "failpoint", tell_more)
        assert tailing.tail_to_the_end(here) == 1
    assert outbox(event_id=early).published_at is not None
    assert len(told) == 2, "it looks until there is nothing to read"
    assert tail(here) == 2


def test_nothing_is_dropped_without_a_yes(here, monkeypatch):
    with pytest.raises(CommandError, match="without a yes"):
        call_command("outbox", "tail", "--drop")

    assert slots.look(here).has_slot


def test_a_server_whose_log_does_not_say_enough_is_named_with_the_remedy(here, monkeypatch):
    run_really = slots._run
    low = lambda alias, statement, *rest: (  # noqa: E731
        [("replica",)] if statement == "SHOW wal_level" else run_really(alias, statement, *rest)
    )
    monkeypatch.setattr(slots, "_run", low)

    with pytest.raises(CommandError, match="wal_level is 'replica': set wal_level = 'logical'"):
        call_command("outbox", "tail", "--setup")


def test_a_role_that_may_not_replicate_is_named_with_the_remedy(here):
    slots.drop(here)
    run("CREATE ROLE trial_low")
    run("GRANT trial_low TO CURRENT_USER")
    try:
        run("SET ROLE trial_low")
        with pytest.raises(NotTailable, match=r"ALTER ROLE .* REPLICATION"):
            slots.set_up(here)
    finally:
        run("RESET ROLE")
        run("DROP ROLE trial_low")


# -- who is told -----------------------------------------------------------------------------------


def test_how_much_log_is_kept_is_seen_by_monitoring(client, here):
    figures = client.get("/metrics").content.decode()

    assert f'concord_outbox_tail_broken{{database="{here}"}} 0.0' in figures
    assert f'concord_outbox_tail_retained_bytes{{database="{here}"}} ' in figures


def test_a_slot_that_was_dropped_is_told_to_operators_until_somebody_acts(client, here, settings):
    settings.SAGAS = {**settings.SAGAS, "TAIL_CEILING": 16}
    write_much()
    watch_slots()

    told = "is not tailed: its slot was dropped since "
    assert told in signed_in("viewer").get(reverse("admin:index")).content.decode()
    figures = client.get("/metrics").content.decode()
    assert f'concord_outbox_tail_broken{{database="{here}"}} 1.0' in figures

    call_command("outbox", "tail", "--drop", "--yes")
    assert told not in signed_in("viewer").get(reverse("admin:index")).content.decode()
    assert "concord_outbox_tail_broken{" not in client.get("/metrics").content.decode()


def test_a_setting_up_that_dies_half_way_is_shown_and_done_again(here, fail_at):
    slots.drop(here)
    fail_at("tail.published_tables")
    with pytest.raises(FailpointHit):
        slots.set_up(here)
    assert slots.look(here).trouble.endswith("its slot is not there.")

    assert slots.set_up(here)
    assert slots.look(here).trouble == ""


def test_a_watch_that_dies_after_it_dropped_a_slot_leaves_that_to_be_seen(here, fail_at, settings):
    settings.SAGAS = {**settings.SAGAS, "TAIL_CEILING": 16}
    write_much()
    fail_at("tail.slot_dropped")
    with pytest.raises(FailpointHit):
        slots.watch()

    assert slots.look(here).trouble.endswith("its slot is not there.")
    assert here not in slots.watch()


def test_a_slot_that_nobody_wants_any_more_is_dropped_at_its_ceiling_all_the_same(here, settings):
    settings.SAGAS = {**settings.SAGAS, "TAIL_CEILING": 16}
    run("DROP PUBLICATION outbox_tail")
    write_much()

    assert here in slots.watch()
    assert not slots.look(here).has_slot
    assert slots.look(here).trouble == ""
