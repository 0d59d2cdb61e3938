"""What no statement of the engine does, the database refuses as well."""

import pytest
from django.db import IntegrityError, connection

from sagas.ids import uuid7
from tests.databases import database_of
from tests.integration.sagas import trial

SAGA = "UPDATE sagas_saga SET {} WHERE id = %(id)s"
ENDED = "status = 'completed', finished_at = now(), due_at = NULL"
RUN = (
    "INSERT INTO sagas_steprun (saga_id, step_no, name, context, direction, state, effect_key,"
    " attempts, worker, task_id, fencing_token) VALUES"
    " (%(id)s, 1, 'take', 'orders', 'do', {}, '', 1, '', '', 0)"
)
SIGNAL = (
    "INSERT INTO sagas_signal (id, saga_id, name, key, payload)"
    " VALUES (gen_random_uuid(), %(id)s, 'paid', 'k', '{}')"
)
LOCK = (
    "INSERT INTO sagas_lock (target_type, target_id, saga_id, taken_at)"
    " VALUES ('order', %(id)s, %(id)s, now())"
)
CONSUMER = (
    "INSERT INTO sagas_consumer (consumer, producer, start, border, names)"
    " VALUES ('fraudwatch', 'orders', 'first', 0, '[]')"
)
ROLLOUT = "INSERT INTO sagas_rollout (name, version, percent) VALUES ('orders.trial', 2, {})"
LETTER = (
    "INSERT INTO sagas_deadletter (id, context, producer, event_id, event_name, aggregate_type,"
    " aggregate_id, sequence, attempts, reason, traceback, first_at, last_at)"
    " VALUES (gen_random_uuid(), 'billing', 'orders', %(id)s, '', '', %(id)s, 1, 1, '', '',"
    " now(), now())"
)
FAULT = (
    "INSERT INTO sagas_stepfault (id, saga_id, step_no, name, direction, attempt, kind, error,"
    " traceback, worker, task_id) VALUES"
    " (gen_random_uuid(), %(id)s, 1, 'take', 'do', 1, 'fault', '', '', '', '')"
)
ACTION = (
    "INSERT INTO sagas_operatoraction (id, action, target_type, target_id, by, reason, outcome)"
    " VALUES (gen_random_uuid(), 'park', 'saga', 'x', 'alice', 'r', 'done')"
)
BARRIER = (
    "INSERT INTO {}_barrier (saga_id, step_no, direction, state) VALUES (%(id)s, 1, 'do', 'done')"
)
INBOX = "INSERT INTO {}_inbox (consumer, event_id, type) VALUES ('{}', %(id)s, 't')"
POSITION = "INSERT INTO {}_position (aggregatetype, aggregateid, sequence) VALUES ('t', %(id)s, 1)"
ANSWER = (
    "INSERT INTO {}_idempotency (scope, key, fingerprint, status, headers, body)"
    " VALUES ('s', 'k', 'f', 200, '{{}}', '')"
)
FLOW = (
    "INSERT INTO sagas_watchedflow (id, name, event_id, aggregatetype, aggregateid, payload,"
    " correlation_id, state, seen, missing, undone, redrives, attempts, token, deadline_at, due_at,"
    " parked_reason, finished_at) VALUES (gen_random_uuid(), 'f', %(id)s, 't', %(id)s, '{}', '',"
    " 'running', '[]', '', '[]', 0, 0, 0, now(), now(), '', NULL)"
)
FLOW_ENDS = "UPDATE sagas_watchedflow SET state = 'completed', finished_at = now(), due_at = NULL"
UNREADABLE = (
    "INSERT INTO sagas_unreadable (id, digest, queue, reason, content_type, content_encoding,"
    " headers, body, size) VALUES (gen_random_uuid(), 'd', 'steps', 'why', '', '', '{}', 'b', 1)"
)
CONTEXTS = ("orders", "billing", "payments")
OUTBOX = (
    "INSERT INTO {}_outbox (id, aggregatetype, aggregateid, sequence, type, version, payload,"
    " occurred_at, correlation_id) VALUES"
    " (gen_random_uuid(), 't', %(id)s, 1, 't', 1, '{{}}', now(), '')"
)

EVENT = (
    "INSERT INTO {}_event (position, id, aggregatetype, aggregateid, number, type, version,"
    " payload, occurred_at, recorded_at, correlation_id) VALUES"
    " ({}, gen_random_uuid(), 't', %(id)s, 1, 't', 1, '{{}}', now(), now(), '')"
)

# Which statements are tried, one after the other; the last is refused by the named rule.
REFUSED = {
    "sagas_clock_one": ["INSERT INTO sagas_clock (id, ahead) VALUES (2, interval '1s')"],
    "sagas_deadletter_once": [LETTER, LETTER],
    "sagas_lock_once": [LOCK, LOCK],
    "sagas_consumer_begins_once": [CONSUMER, CONSUMER],
    "sagas_rollout_once": [ROLLOUT.format(1), ROLLOUT.format(2)],
    "sagas_rollout_percent": [ROLLOUT.format(101)],
    "sagas_saga_cursor": [SAGA.format("cursor = 6")],
    "sagas_saga_finished": [SAGA.format("finished_at = now()")],
    "sagas_saga_no_return": [SAGA.format("past_return = true, status = 'compensating'")],
    "sagas_saga_parked_why": [SAGA.format("parked_at = now()")],
    "sagas_saga_parent_step": [SAGA.format("parent_step = 1")],
    "sagas_saga_pending": [SAGA.format("pending = -1")],
    "sagas_saga_seen": [SAGA.format("due_at = NULL")],
    "sagas_saga_waiting_why": [SAGA.format(f"waiting_for = 'timer:x', {ENDED}")],
    "sagas_signal_once": [SIGNAL, SIGNAL],
    "sagas_signal_consumed": [SIGNAL, "UPDATE sagas_signal SET consumed_at = now()"],
    "sagas_run_once": [RUN.format("'done'"), RUN.format("'done'")],
    "sagas_run_seen": [RUN.format("'pending'")],
    "sagas_run_state": [RUN.format("'perhaps'")],
    "sagas_unreadable_once": [UNREADABLE, UNREADABLE],
    "sagas_watchedflow_once": [FLOW, FLOW],
    "sagas_watchedflow_never_forgotten": [FLOW, "UPDATE sagas_watchedflow SET due_at = NULL"],
    "sagas_watchedflow_ended_is_ended": [FLOW, "UPDATE sagas_watchedflow SET state = 'closed'"],
    **{f"{c}_barrier_effect": [BARRIER.format(c)] * 2 for c in CONTEXTS},
    **{f"{c}_inbox_once": [INBOX.format(c, c)] * 2 for c in CONTEXTS},
    **{f"{c}_position_aggregate": [POSITION.format(c)] * 2 for c in CONTEXTS},
    **{f"{c}_idempotency_key": [ANSWER.format(c)] * 2 for c in CONTEXTS},
    **{f"{c}_event_number": [EVENT.format(c, 1), EVENT.format(c, 2)] for c in CONTEXTS},
    **{f"{c}_outbox_gapless": [OUTBOX.format(c)] * 2 for c in CONTEXTS},
}


def tried(statements, saga_id):
    for statement in statements:
        with database_of(statement).cursor() as cursor:
            cursor.execute(statement, {"id": saga_id})


@pytest.mark.parametrize("rule", REFUSED)
def test_a_rule_of_the_database_refuses_what_no_statement_does(broker, rule):
    *allowed, refused = REFUSED[rule]
    saga_id = trial.begin()
    tried(allowed, saga_id)

    with pytest.raises(IntegrityError, match=rule):
        tried([refused], saga_id)


def test_a_business_key_has_one_saga(broker):
    saga_id = trial.begin()
    copied = (
        "INSERT INTO sagas_saga"
        " SELECT (jsonb_populate_record(s, jsonb_build_object('id', %(new)s))).*"
        " FROM sagas_saga AS s WHERE id = %(id)s"
    )

    with pytest.raises(IntegrityError, match="sagas_saga_once"), connection.cursor() as cursor:
        cursor.execute(copied, {"id": saga_id, "new": str(uuid7())})


def test_an_ended_saga_is_not_changed(broker):
    saga_id = trial.begin()
    tried([SAGA.format(ENDED)], saga_id)

    with pytest.raises(IntegrityError, match="has ended"):
        tried([SAGA.format("cursor = 2")], saga_id)


def test_an_ended_flow_is_not_changed(broker):
    saga_id = trial.begin()
    tried([FLOW, FLOW_ENDS], saga_id)

    with pytest.raises(IntegrityError, match="has ended"):
        tried(["UPDATE sagas_watchedflow SET redrives = 1"], saga_id)


@pytest.mark.parametrize("table", ["sagas_stepfault", "sagas_operatoraction"])
@pytest.mark.parametrize("change", ["UPDATE {} SET id = id", "DELETE FROM {}"])
def test_a_journal_is_only_ever_added_to(broker, table, change):
    saga_id = trial.begin()
    tried([FAULT, ACTION], saga_id)

    with pytest.raises(IntegrityError, match=f"{table} is append-only"):
        tried([change.format(table)], saga_id)


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("change", ["UPDATE {} SET id = id", "DELETE FROM {}", "TRUNCATE {}"])
def test_a_history_is_only_ever_added_to_also_by_its_owner(broker, context, change):
    history = f"{context}_event"
    tried([EVENT.format(context, 1)], uuid7())

    with pytest.raises(IntegrityError, match=f"{history} is append-only"):
        tried([change.format(history)], None)
