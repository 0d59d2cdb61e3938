-- One row per attempt at a step that did not end well; of those put off in a row, one for all.
SELECT
    f.saga_id::uuid AS saga_id,
    f.step_no::integer AS step_no,
    f.name::text AS name,
    f.direction::text AS direction,
    f.attempt::integer AS attempt,
    f.kind::text AS kind,
    f.error::text AS error,
    f.at::timestamptz AS at,
    f.next_at::timestamptz AS next_at,
    f.times::integer AS times,
    f.first_at::timestamptz AS first_at
FROM sagas.sagas_stepfault f
