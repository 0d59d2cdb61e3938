"""I9 and I10: every event arrives, once and in order."""

from typing import Final

from config.invariants.checking import Invariant, Part, When, guarded

I9_DELIVERY: Final = Invariant(
    id="I9",
    name="every event arrives",
    parts=(
        Part(
            says="Every event that is written is sent.",
            when=When.REST,
            checked="SELECT count(*) FROM audit.v_outbox",
            violations="""
                SELECT format('%%s %%s of %%s is not sent', type, event_id, created_at) AS what,
                    extract(epoch FROM clock_timestamp() - created_at) AS size
                FROM audit.v_outbox
                WHERE published_at IS NULL AND (%(at_rest)s
                    OR created_at < clock_timestamp() - make_interval(secs => %(age)s))
            """,
        ),
        Part(
            says="Every event that is sent is applied by all who listen, or an operator sees it.",
            when=When.REST,
            checked="SELECT count(*) FROM audit.v_outbox WHERE published_at IS NOT NULL",
            violations="""
                SELECT format('%%s %%s, sent %%s, is not applied by all', type, event_id,
                        published_at) AS what,
                    extract(epoch FROM clock_timestamp() - published_at) AS size
                FROM audit.v_outbox x
                WHERE published_at IS NOT NULL AND settled_at IS NULL
                    -- At rest too: that all have applied it is noted some seconds later.
                    AND published_at < clock_timestamp() - make_interval(secs => %(age)s)
                    AND NOT EXISTS (
                        SELECT FROM audit.v_dead_letters d
                        WHERE d.resolved_at IS NULL AND d.aggregate_type = x.aggregate_type
                            AND d.aggregate_id = x.aggregate_id
                            AND d.aggregate_version <= x.aggregate_version
                            AND d.context <> 'the outside')
            """,
        ),
        Part(
            says="Every event that is sent is in the history.",
            when=When.ALWAYS,
            checked="SELECT count(*) FROM audit.v_outbox WHERE published_at IS NOT NULL",
            violations="""
                SELECT format('%%s %%s, sent %%s, is not in the history', x.type, event_id,
                        x.published_at) AS what,
                    1 AS size
                FROM audit.v_outbox x JOIN audit.v_events e USING (event_id)
                WHERE x.published_at IS NOT NULL AND NOT e.in_history
            """,
        ),
        Part(
            says="Nothing was applied that was not written.",
            when=When.ALWAYS,
            checked="SELECT count(*) FROM audit.v_inbox",
            violations="""
                SELECT format('%%s applied %%s %%s, which nobody wrote', i.consumer, i.type,
                        i.event_id) AS what,
                    1 AS size
                FROM audit.v_inbox i
                WHERE NOT EXISTS (SELECT FROM audit.v_outbox x WHERE x.event_id = i.event_id)
                    -- Both are pruned by age; a day from the oldest on says nothing.
                    AND i.applied_at > (SELECT min(created_at) FROM audit.v_outbox)
                        + CASE WHEN (SELECT min(created_at) FROM audit.v_outbox)
                            < clock_timestamp() - interval '1 day' THEN interval '1 day'
                            ELSE interval '0' END
            """,
        ),
        Part(
            says="Money that was captured is received and booked in billing, once.",
            when=When.REST,
            checked="SELECT count(*) FROM audit.v_payments WHERE captured > 0",
            violations="""
                SELECT format('payment %%s: captured %%s, received %%s, booked %%s',
                        p.payment_id, p.captured, coalesce(r.amount, 0),
                        coalesce(b.amount, 0)) AS what,
                    abs(p.captured - coalesce(b.amount, 0)) AS size
                FROM audit.v_payments p
                LEFT JOIN audit.v_received_payments r USING (payment_id)
                LEFT JOIN (SELECT source, sum(amount) AS amount FROM audit.v_ledger
                    WHERE rule = 'payment_captured' AND side = 'D' GROUP BY source) b
                    ON b.source = p.payment_id
                WHERE p.captured > 0 AND (r.amount IS DISTINCT FROM p.captured
                        OR b.amount IS DISTINCT FROM p.captured)
                    AND (%(at_rest)s
                        OR p.captured_at < sagas.now() - make_interval(secs => %(age)s))
            """,
        ),
        Part(
            says="Nothing is received that was not captured.",
            when=When.ALWAYS,
            checked="SELECT count(*) FROM audit.v_received_payments",
            violations="""
                SELECT format('payment %%s: received %%s, captured %%s', r.payment_id, r.amount,
                        coalesce(p.captured, 0)) AS what,
                    r.amount AS size
                FROM audit.v_received_payments r LEFT JOIN audit.v_payments p USING (payment_id)
                WHERE (r.amount, r.currency) IS DISTINCT FROM (p.captured, p.currency)
            """,
        ),
    ),
)

I10_ORDER: Final = Invariant(
    id="I10",
    name="events in order",
    parts=(
        Part(
            says="The events of an object are numbered 1, 2, 3 … without a gap.",
            when=When.ALWAYS,
            checked="SELECT count(DISTINCT (aggregate_type, aggregate_id)) FROM audit.v_outbox",
            violations="""
                SELECT format('%%s %%s: %%s events, numbered %%s to %%s', aggregate_type,
                        aggregate_id, count(*), min(aggregate_version),
                        max(aggregate_version)) AS what,
                    max(aggregate_version) - count(*) AS size
                FROM audit.v_outbox GROUP BY aggregate_type, aggregate_id
                HAVING count(*) <> max(aggregate_version) - min(aggregate_version) + 1
                    OR (min(aggregate_version) <> 1
                        -- Later than this, the earlier ones may have been pruned.
                        AND (SELECT min(created_at) FROM audit.v_outbox)
                            > clock_timestamp() - interval '1 day')
            """,
        ),
        Part(
            says="A context applies them in that order, without a gap or a step back.",
            when=When.ALWAYS,
            checked="SELECT count(*) FROM audit.v_inbox",
            violations="""
                SELECT format('%%s applied event %%s of %%s %%s after event %%s', consumer,
                        aggregate_version, aggregate_type, aggregate_id, before) AS what,
                    abs(aggregate_version - before - 1) AS size
                FROM (SELECT i.consumer, x.aggregate_type, x.aggregate_id, x.aggregate_version,
                        lag(x.aggregate_version) OVER (
                            PARTITION BY i.consumer, x.aggregate_type, x.aggregate_id
                            ORDER BY i.id) AS before
                    FROM audit.v_inbox i JOIN audit.v_outbox x USING (event_id)) AS applied
                WHERE aggregate_version <> before + 1
            """,
        ),
        Part(
            says="The position of a context is the last event it has applied.",
            when=When.ALWAYS,
            checked="SELECT count(*) FROM audit.v_positions",
            violations="""
                SELECT format('%%s is at event %%s of %%s %%s, and has applied up to %%s',
                        p.context, p.aggregate_version, p.aggregate_type, p.aggregate_id,
                        a.last) AS what,
                    abs(p.aggregate_version - a.last) AS size
                FROM audit.v_positions p
                JOIN (SELECT i.consumer AS context, x.aggregate_type, x.aggregate_id,
                        max(x.aggregate_version) AS last
                    FROM audit.v_inbox i JOIN audit.v_outbox x USING (event_id)
                    GROUP BY i.consumer, x.aggregate_type, x.aggregate_id) a
                    USING (context, aggregate_type, aggregate_id)
                WHERE p.aggregate_version <> a.last
            """,
        ),
        guarded(
            (
                "orders_event.append_only",
                "billing_event.append_only",
                "payments_event.append_only",
            ),
            "The history cannot be changed: the triggers that refuse it are on.",
        ),
    ),
)
