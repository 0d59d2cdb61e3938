"""Messages that nobody can carry out wait for a person, with their bytes and the reason."""

import inspect
import json
import logging
import threading
from types import SimpleNamespace

import pytest
from celery import current_app
from celery.exceptions import Ignore
from django.db import OperationalError, connection
from django.db.models.functions import Now

from sagas import arguments, tasks, unreadable
from sagas.outbox import discarding
from sagas.transactions import transaction
from sagas.unreadable import keep
from tests.integration.sagas.rubbish_kept import found, kept, nobody_has_knocked
from tests.processes import eventually
from tests.together import together

__all__ = ["nobody_has_knocked"]

pytestmark = pytest.mark.usefixtures("committed_db", "nobody_has_knocked")
ID = "0198f000-0000-7000-8000-000000000000"


def test_a_message_is_kept_as_it_came_with_the_reason():
    headers = {"task": "x\0y", "id": "\udce9", "odd": b"\xff"}
    assert keep(found(b"\x00\xff{", headers=headers, content_type="a/b"), "it is broken")

    [row] = kept()
    assert (row.queue, row.reason, row.content_type) == ("steps", "it is broken", "a/b")
    assert (bytes(row.body), row.size, row.times) == (b"\x00\xff{", 3, 1)
    assert json.loads(row.headers) == {"task": "x\0y", "id": "\udce9", "odd": "b'\\xff'"}


def test_the_same_message_a_thousand_times_is_one_row():
    for _ in range(1000):
        assert keep(found(), "it is no JSON")

    [row] = kept()
    assert row.times == 1000
    assert row.last_at > row.received_at


def test_two_workers_that_find_the_same_message_count_it_twice():
    together(*[lambda: keep(found(), "it is no JSON")] * 2)

    assert list(kept().values_list("times", flat=True)) == [2]


def waiters():
    with connection.cursor() as cursor:
        # Seen also by a role that is not told what other sessions do.
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = %s", [XID])
        return cursor.fetchone()[0]


XID = "transactionid"


def test_what_comes_while_one_like_it_is_being_discarded_waits_for_a_person_of_its_own():
    keep(found(), "it is no JSON")
    ended = []
    comes = threading.Thread(target=lambda: ended.append(keep(found(), "it is no JSON")))
    with transaction("sagas"):
        kept().update(discarded_at=Now())
        comes.start()
        eventually(waiters, 30, "the second waits for the discard")
    comes.join(30)

    assert ended == [True]
    assert [(row.times, row.discarded_at is None) for row in kept()] == [(1, False), (1, True)]


def test_one_body_for_two_reasons_or_from_two_queues_is_two_rows():
    keep(found(), "one")
    keep(found(), "two")
    keep(found(queue="events"), "two")

    assert kept().count() == 3


def test_of_a_body_of_megabytes_the_beginning_is_kept_and_its_size():
    assert keep(found(b"ab" * 3_000_000, headers={"more": "x" * 100_000}), "it is too large")

    [row] = kept()
    assert bytes(row.body) == b"ab" * (unreadable.BODY // 2)
    assert row.size == 6_000_000
    assert len(row.headers) == unreadable.HEADERS


def test_two_large_messages_that_begin_alike_are_two_rows():
    for end in (b"1", b"2"):
        keep(found(b"a" * 100_000 + end), "it is too large")

    assert kept().count() == 2


def test_a_reason_that_no_database_holds_is_kept_with_escapes():
    assert keep(found(queue="a\0b"), "half \udce9 and zero \0" + "x" * 1000)

    [row] = kept()
    assert row.reason.startswith(r"half \udce9 and zero \x00")
    assert (row.queue, len(row.reason)) == (r"a\x00b", unreadable.TEXT)


def test_headers_that_are_nested_without_end_are_no_reason_to_fail():
    deep = {}
    for _ in range(100_000):
        deep = {"in": deep}

    assert keep(found(headers=deep), "it is nested")
    [row] = kept()
    assert row.headers == "dict that JSON cannot say"


def test_no_connection_stays_open():
    def sessions():
        with connection.cursor() as cursor:
            cursor.execute(
                # Not those of an autovacuum.
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND backend_type = 'client backend'"
            )
            return cursor.fetchone()[0]

    before = sessions()
    for number in range(5):
        keep(found(str(number).encode()), "it is no JSON")

    eventually(lambda: sessions() <= before, 30, "those that were closed have ended")


def test_without_a_database_the_message_is_in_the_log_and_nobody_knocks_again_at_once(
    monkeypatch, caplog
):
    knocks = []

    def away(row):
        knocks.append(row)
        raise OperationalError("connection refused")

    monkeypatch.setattr(unreadable, "_write", away)

    with caplog.at_level(logging.WARNING, "sagas.unreadable"):
        assert [keep(found(), "it is no JSON") for _ in range(1000)] == [False] * 1000

    assert len(knocks) == 1
    assert [record.message for record in caplog.records] == ["message_unreadable"] * 1000
    assert "connection refused" in caplog.records[0].error
    assert {record.reason for record in caplog.records} == {"it is no JSON"}


def test_a_server_that_refuses_connections_is_no_error(monkeypatch, caplog):
    with caplog.at_level(logging.WARNING, "sagas.unreadable"), monkeypatch.context() as elsewhere:
        elsewhere.setitem(connection.settings_dict, "HOST", "127.0.0.1")
        elsewhere.setitem(connection.settings_dict, "PORT", "1")
        assert not keep(found(), "it is no JSON")

    assert "OperationalError" in caplog.records[0].error


def test_after_a_pause_the_database_is_asked_again(monkeypatch):
    monkeypatch.setattr(unreadable._Knocking, "after", unreadable.monotonic() + unreadable.PAUSE)
    assert not keep(found(), "it is no JSON")

    monkeypatch.setattr(unreadable._Knocking, "after", unreadable.monotonic() - 1)
    assert keep(found(), "it is no JSON")


def test_a_full_table_takes_no_other_message_and_counts_those_that_it_has(monkeypatch, caplog):
    monkeypatch.setattr(unreadable, "MOST", 2)
    assert [keep(found(body), "it is no JSON") for body in (b"1", b"2", b"3", b"1")] == [
        True,
        True,
        False,
        True,
    ]

    assert list(kept().values_list("times", flat=True)) == [2, 1]
    assert "2 others wait" in caplog.records[2].outcome
    discarding.discard_unreadable(kept()[0].id, by="alice", reason="seen")
    assert keep(found(b"3"), "it is no JSON"), "there is room again"


# -- what a task is told ---------------------------------------------------------------------------

WRONG = {
    "no ids": ("sagas.deliver", ["orders", "billing", ["1"]], "event_ids"),
    "ids that are a text": ("sagas.deliver", ["orders", "billing", ID], "event_ids"),
    "producer": ("sagas.deliver", ["nobody", "billing", [ID]], "producer 'nobody'"),
    "producer of odd kind": ("sagas.deliver", [[], "billing", [ID]], "producer"),
    "the engine tells nothing": ("sagas.deliver", ["sagas", "billing", [ID]], "producer"),
    "consumer": ("sagas.deliver", ["orders", 'x"; DROP', [ID]], "consumer"),
    "too few": ("sagas.deliver", ["orders"], "its arguments do not fit"),
    "ring of nobody": ("sagas.relay", ["nobody"], "context 'nobody'"),
    "saga": ("sagas.continue_saga", ["not a uuid"], "saga_id 'not a uuid'"),
    "long saga": ("sagas.continue_saga", ["x" * 3_000_000], "saga_id"),
    "too many": ("sagas.continue_saga", [ID, 1, 2], "its arguments do not fit"),
    "link": ("sagas.run_link", [ID, "0", 1, False], "low '0'"),
    "swept": ("sagas.undo_link", [ID, 0, 1, "no"], "swept 'no'"),
    "branch": ("sagas.run_branch", [ID, True], "step_no True"),
}


def started(name, args):
    current_app.tasks[name].before_start("task-1", args, {})


@pytest.mark.parametrize(("name", "args", "why"), WRONG.values(), ids=WRONG)
def test_what_a_task_cannot_do_anything_with_is_kept_and_not_begun(name, args, why):
    with pytest.raises(Ignore):
        started(name, args)

    [row] = kept()
    assert row.reason.startswith(f"{name}: ")
    assert why in row.reason
    assert json.loads(row.headers) == {"task": name, "id": "task-1"}
    content = json.dumps([args, {}]).encode()
    assert (bytes(row.body), row.size) == (content[: unreadable.BODY], len(content))


RIGHT = {
    "to the engine": ("sagas.deliver", ["orders", "sagas", [ID]]),
    "no ids at all": ("sagas.deliver", ["orders", "billing", []]),
    "tick": ("sagas.relay", []),
    "ring": ("sagas.relay", ["orders"]),
    "link of old": ("sagas.run_link", [ID, 0, 1, False]),
    "link of many": ("sagas.undo_link", [ID, 0, 1, False, "orders.checkout"]),
    "branch": ("sagas.run_branch", [ID, 1]),
}


@pytest.mark.parametrize(("name", "args"), RIGHT.values(), ids=RIGHT)
def test_what_a_task_is_told_by_us_is_begun(name, args):
    started(name, args)

    assert not kept().exists()


def test_every_task_that_is_told_something_looks_at_it():
    unlooked = {
        name
        for name, task in current_app.tasks.items()
        if name.startswith("sagas.") and not isinstance(task, tasks.EngineTask)
    }

    told = {name for name in unlooked if current_app.tasks[name].run.__code__.co_argcount}
    assert told == set()


def test_every_argument_of_such_a_task_has_a_rule():
    ours = [task for task in current_app.tasks.values() if isinstance(task, tasks.EngineTask)]

    named = {name for task in ours for name in inspect.signature(task.run).parameters}
    assert named == set(arguments._RIGHT)


def test_what_celery_turns_away_is_kept():
    message = SimpleNamespace(
        delivery_info={"routing_key": "events"},
        body=memoryview(b"[[], {}, {}]"),
        content_type="application/json",
        content_encoding="utf-8",
        headers={"task": "sagas.no_such_task"},
    )
    unreadable.keep_unknown_task(message=message, name="sagas.no_such_task")
    unreadable.keep_rejected(message=message, exc=None)
    unreadable.keep_rejected(message=message, exc=ValueError("invalid ETA value"))

    assert [(row.queue, row.reason, bytes(row.body)) for row in kept()] == [
        ("events", "no task of this release has the name 'sagas.no_such_task'", b"[[], {}, {}]"),
        ("events", "it names no task", b"[[], {}, {}]"),
        (
            "events",
            "Celery cannot carry it out: ValueError: invalid ETA value",
            b"[[], {}, {}]",
        ),
    ]
