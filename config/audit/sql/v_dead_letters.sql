-- One row per event that a context could not handle at once; resolved ones are kept.
SELECT
    d.id::uuid AS dead_letter_id,
    d.context::text AS context,
    d.producer::text AS producer,
    d.event_id::uuid AS event_id,
    d.event_name::text AS type,
    d.aggregate_type::text AS aggregate_type,
    d.aggregate_id::uuid AS aggregate_id,
    d.sequence::bigint AS aggregate_version,
    d.attempts::integer AS attempts,
    d.reason::text AS reason,
    d.first_at::timestamptz AS first_at,
    d.last_at::timestamptz AS last_at,
    d.next_at::timestamptz AS next_at,
    d.resolved_at::timestamptz AS resolved_at
FROM sagas.sagas_deadletter d
