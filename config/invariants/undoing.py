"""I7 and I8: what is undone is undone once, and nothing comes after it."""

from typing import Final

from config.invariants.checking import Invariant, Part, When

COMPENSATED: Final = "SELECT count(*) FROM audit.v_sagas WHERE status = 'compensated'"

I7_COMPENSATION: Final = Invariant(
    id="I7",
    name="compensation is whole",
    parts=(
        Part(
            says="A compensated saga has visited every step.",
            when=When.ENDED,
            checked=COMPENSATED,
            violations="""
                SELECT format('saga %%s (%%s): %%s of %%s steps visited', s.saga_id, s.key,
                        count(r.saga_id), s.last_step + 1) AS what,
                    s.last_step + 1 - count(r.saga_id) AS size
                FROM audit.v_sagas s
                LEFT JOIN audit.v_saga_steps r ON r.saga_id = s.saga_id
                    AND r.direction = 'undo' AND r.state IN ('done', 'nothing', 'skipped')
                WHERE s.status = 'compensated' GROUP BY s.saga_id, s.key, s.last_step
                HAVING count(r.saga_id) <> s.last_step + 1
            """,
        ),
        Part(
            says="What was done is undone.",
            when=When.ENDED,
            checked="""
                SELECT count(*) FROM audit.v_sagas s JOIN audit.v_saga_steps f USING (saga_id)
                WHERE s.status = 'compensated' AND f.direction = 'do' AND f.state = 'done'
            """,
            violations="""
                SELECT format('saga %%s (%%s): %%s was done, its undo is %%s', s.saga_id, s.key,
                        f.name, coalesce(u.state, 'missing')) AS what,
                    1 AS size
                FROM audit.v_sagas s
                JOIN audit.v_saga_steps f ON f.saga_id = s.saga_id AND f.direction = 'do'
                LEFT JOIN audit.v_saga_steps u ON u.saga_id = s.saga_id AND u.direction = 'undo'
                    AND u.step_no = f.step_no
                WHERE s.status = 'compensated' AND f.state = 'done'
                    AND coalesce(u.state, '') NOT IN ('done', 'skipped')
            """,
        ),
        Part(
            says="What never ran never may, and was not undone.",
            when=When.ENDED,
            checked=COMPENSATED,
            violations="""
                SELECT format('saga %%s (%%s): %%s never ran, its undo is %%s and its door is %%s',
                        s.saga_id, s.key, u.name, u.state, coalesce(b.state, 'open')) AS what,
                    1 AS size
                FROM audit.v_sagas s
                JOIN audit.v_saga_steps u ON u.saga_id = s.saga_id AND u.direction = 'undo'
                LEFT JOIN audit.v_saga_steps f ON f.saga_id = s.saga_id AND f.direction = 'do'
                    AND f.step_no = u.step_no
                LEFT JOIN audit.v_barriers b ON b.saga_id = s.saga_id AND b.direction = 'do'
                    AND b.step_no = u.step_no
                WHERE s.status = 'compensated' AND f.saga_id IS NULL
                    AND (u.state NOT IN ('nothing', 'skipped')
                        OR b.state IS DISTINCT FROM 'canceled')
                    -- Its context knows of it although the saga does not: then it is undone.
                    AND NOT (%(detached)s AND b.state IS NOT NULL
                        AND (b.state IN ('abandoned', 'rejected')
                            OR (b.state = 'done' AND u.state IN ('done', 'skipped'))))
            """,
        ),
    ),
)

I8_NOTHING_LATE: Final = Invariant(
    id="I8",
    name="nothing after its undo",
    parts=(
        Part(
            says="No step takes effect after it was undone or its door was closed.",
            when=When.ALWAYS,
            checked="SELECT count(*) FROM audit.v_saga_steps WHERE direction = 'undo'",
            violations="""
                SELECT format('saga %%s: %%s done at %%s, undone at %%s', saga_id, f.name,
                        f.committed_at, u.committed_at) AS what,
                    extract(epoch FROM f.committed_at - u.committed_at) AS size
                FROM audit.v_saga_steps f JOIN audit.v_saga_steps u USING (saga_id, step_no)
                WHERE f.direction = 'do' AND u.direction = 'undo'
                    AND u.state IN ('done', 'nothing', 'skipped')
                    AND f.committed_at > u.committed_at
            """,
        ),
    ),
)
