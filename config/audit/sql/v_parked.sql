-- One row per saga that waits for an operator.
SELECT
    s.id::uuid AS saga_id,
    s.name::text AS name,
    s.key::text AS key,
    s.subject_id::uuid AS subject_id,
    s.status::text AS status,
    s.past_return::boolean AS past_return,
    s.cursor::integer AS cursor,
    s.attempts::integer AS attempts,
    s.parked_at::timestamptz AS parked_at,
    s.parked_reason::text AS parked_reason,
    s.correlation_id::text AS correlation_id
FROM sagas.sagas_saga s
WHERE s.parked_at IS NOT NULL
