"""I5 and I6: sagas get on, and only by moves that there are."""

from typing import Final

from config.invariants.checking import Invariant, Part, When

I5_LIVENESS: Final = Invariant(
    id="I5",
    name="every saga gets on",
    parts=(
        Part(
            says="A saga has ended, is seen by the sweeper, or is parked with a reason.",
            when=When.ALWAYS,
            checked="SELECT count(*) FROM audit.v_sagas",
            violations="""
                SELECT format('saga %%s (%%s) is seen by nobody', saga_id, key) AS what,
                    extract(epoch FROM clock_timestamp() - updated_at) AS size
                FROM audit.v_sagas
                WHERE finished_at IS NULL AND CASE WHEN parked_at IS NULL THEN due_at IS NULL
                    ELSE coalesce(parked_reason, '') = '' END
            """,
        ),
        Part(
            says="A saga that is due is taken up; at rest none is left.",
            when=When.REST,
            checked="SELECT count(*) FROM audit.v_sagas WHERE finished_at IS NULL",
            violations="""
                SELECT format('saga %%s (%%s %%s) at step %%s, due since %%s', saga_id, name, key,
                        cursor, due_at) AS what,
                    extract(epoch FROM clock_timestamp() - due_at) AS size
                FROM audit.v_sagas
                WHERE finished_at IS NULL AND parked_at IS NULL AND (%(at_rest)s
                    OR due_at < clock_timestamp() - make_interval(secs => %(age)s))
            """,
        ),
        Part(
            says="A saga that has missed its deadline turns round.",
            when=When.REST,
            checked="""
                SELECT count(*) FROM audit.v_sagas WHERE status = 'running' AND NOT past_return
            """,
            violations="""
                SELECT format('saga %%s (%%s %%s) had until %%s', saga_id, name, key,
                        deadline_at) AS what,
                    extract(epoch FROM sagas.now() - deadline_at) AS size
                FROM audit.v_sagas
                WHERE status = 'running' AND NOT past_return AND parked_at IS NULL
                    AND deadline_at < sagas.now() - make_interval(secs => %(age)s)
            """,
        ),
    ),
)

# From which event of an aggregate to which; nothing before the first.
MOVES: Final = (
    ("", "orders.CustomerRegistered"),
    ("", "orders.OrderPlaced"),
    ("orders.OrderPlaced", "orders.OrderConfirmed"),
    ("orders.OrderPlaced", "orders.OrderFailed"),
    ("orders.OrderPlaced", "orders.OrderCanceled"),
    ("", "payments.PaymentAuthorized"),
    ("", "payments.PaymentDeclined"),
    ("", "payments.PaymentVoided"),
    ("payments.PaymentAuthorized", "payments.PaymentCaptured"),
    ("payments.PaymentAuthorized", "payments.PaymentVoided"),
    ("", "billing.AccountOpened"),
    ("", "billing.InvoiceIssued"),
    ("billing.InvoiceIssued", "billing.InvoiceSettled"),
    ("", "billing.CouponGranted"),
    ("billing.CouponGranted", "billing.CouponWithdrawn"),
)
_MOVES = ", ".join(f"('{source}', '{target}')" for source, target in MOVES)

I6_TRANSITIONS: Final = Invariant(
    id="I6",
    name="listed moves only",
    parts=(
        Part(
            says="An order and its checkout have ended the same way, or are both under way.",
            when=When.ALWAYS,
            checked="SELECT count(*) FROM audit.v_orders JOIN audit.v_sagas USING (saga_id)",
            violations="""
                SELECT format('order %%s is %%s, its checkout is %%s', o.number, o.status,
                        s.status) AS what,
                    o.total AS size
                FROM audit.v_orders o JOIN audit.v_sagas s USING (saga_id)
                WHERE (o.status, s.status) NOT IN (('pending', 'running'),
                    ('pending', 'compensating'), ('confirmed', 'running'),
                    ('confirmed', 'completed'), ('failed', 'compensated'),
                    ('canceled', 'compensated'))
                    OR (o.status = 'confirmed' AND NOT s.past_return)
            """,
        ),
        Part(
            says="A completed saga has done or skipped every step and undone none.",
            when=When.ALWAYS,
            checked="SELECT count(*) FROM audit.v_sagas WHERE status = 'completed'",
            violations="""
                SELECT format('saga %%s (%%s) is completed: %%s of %%s steps done, %%s undone',
                        s.saga_id, s.key, count(*) FILTER (WHERE r.direction = 'do'
                            AND r.state IN ('done', 'skipped')), s.last_step + 1,
                        count(*) FILTER (WHERE r.direction = 'undo')) AS what,
                    1 AS size
                FROM audit.v_sagas s LEFT JOIN audit.v_saga_steps r USING (saga_id)
                WHERE s.status = 'completed' GROUP BY s.saga_id, s.key, s.last_step
                HAVING count(*) FILTER (WHERE r.direction = 'do'
                        AND r.state IN ('done', 'skipped'))
                        <> s.last_step + 1
                    OR count(*) FILTER (WHERE r.direction = 'undo') > 0
            """,
        ),
        Part(
            says="Past the point of no return nothing is undone.",
            when=When.ALWAYS,
            checked="SELECT count(*) FROM audit.v_sagas WHERE past_return",
            violations="""
                SELECT format('saga %%s (%%s) is past its return and %%s', saga_id, key,
                        status) AS what,
                    1 AS size
                FROM audit.v_sagas s
                WHERE past_return AND (status IN ('compensating', 'compensated') OR EXISTS (
                    SELECT FROM audit.v_saga_steps r
                    WHERE r.saga_id = s.saga_id AND r.direction = 'undo'))
            """,
        ),
        Part(
            says="The events of an order, a payment or an invoice tell of moves that there are.",
            when=When.ALWAYS,
            checked="SELECT count(*) FROM audit.v_outbox",
            violations=f"""
                SELECT format('%%s %%s: %%s after %%s', aggregate_type, aggregate_id, type,
                        coalesce(nullif(before, ''), 'nothing')) AS what,
                    1 AS size
                FROM (SELECT aggregate_type, aggregate_id, aggregate_version, type,
                        lag(type, 1, '') OVER (PARTITION BY aggregate_type, aggregate_id
                            ORDER BY aggregate_version) AS before
                    FROM audit.v_outbox) AS told
                WHERE aggregate_type NOT LIKE '%%.saga_request'
                    AND (before, type) NOT IN (VALUES {_MOVES})
                    -- The first row may not be the first event: old ones are pruned.
                    AND (before <> '' OR aggregate_version = 1)
            """,  # noqa: S608
        ),
    ),
)
