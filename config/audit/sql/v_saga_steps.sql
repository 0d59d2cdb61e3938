-- One row per step of a saga and direction: what was committed for it.
SELECT
    r.saga_id::uuid AS saga_id,
    r.step_no::integer AS step_no,
    r.name::text AS name,
    r.context::text AS context,
    r.direction::text AS direction,
    r.state::text AS state,
    r.effect_key::text AS effect_key,
    r.attempts::integer AS attempts,
    r.committed_at::timestamptz AS committed_at,
    r.started_at::timestamptz AS started_at,
    r.worker::text AS worker
FROM sagas.sagas_steprun r
