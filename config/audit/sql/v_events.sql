-- One row per event of an aggregate, for good, and per journaled saga step.
SELECT
    'orders'::text AS context,
    x.position::bigint AS position,
    (x.aggregatetype || ':' || x.aggregateid)::text AS stream_id,
    x.number::bigint AS event_number,
    x.type::text AS type,
    x.version::integer AS version,
    x.occurred_at::timestamptz AS at,
    x.actor::text AS actor,
    x.correlation_id::text AS correlation_id,
    x.causation_id::text AS causation_id,
    x.id::uuid AS event_id,
    x.recorded_at::timestamptz AS recorded_at,
    true::boolean AS in_history
FROM orders.orders_event x
UNION ALL
-- What its relay has not moved yet.
SELECT
    'orders'::text AS context,
    x.position::bigint AS position,
    (x.aggregatetype || ':' || x.aggregateid)::text AS stream_id,
    x.sequence::bigint AS event_number,
    x.type::text AS type,
    x.version::integer AS version,
    x.occurred_at::timestamptz AS at,
    x.actor::text AS actor,
    x.correlation_id::text AS correlation_id,
    x.causation_id::text AS causation_id,
    x.id::uuid AS event_id,
    x.created_at::timestamptz AS recorded_at,
    false::boolean AS in_history
FROM orders.orders_outbox x
WHERE NOT EXISTS (SELECT FROM orders.orders_event kept WHERE kept.id = x.id)
UNION ALL
SELECT
    'billing'::text AS context,
    x.position::bigint AS position,
    (x.aggregatetype || ':' || x.aggregateid)::text AS stream_id,
    x.number::bigint AS event_number,
    x.type::text AS type,
    x.version::integer AS version,
    x.occurred_at::timestamptz AS at,
    x.actor::text AS actor,
    x.correlation_id::text AS correlation_id,
    x.causation_id::text AS causation_id,
    x.id::uuid AS event_id,
    x.recorded_at::timestamptz AS recorded_at,
    true::boolean AS in_history
FROM billing.billing_event x
UNION ALL
-- What its relay has not moved yet.
SELECT
    'billing'::text AS context,
    x.position::bigint AS position,
    (x.aggregatetype || ':' || x.aggregateid)::text AS stream_id,
    x.sequence::bigint AS event_number,
    x.type::text AS type,
    x.version::integer AS version,
    x.occurred_at::timestamptz AS at,
    x.actor::text AS actor,
    x.correlation_id::text AS correlation_id,
    x.causation_id::text AS causation_id,
    x.id::uuid AS event_id,
    x.created_at::timestamptz AS recorded_at,
    false::boolean AS in_history
FROM billing.billing_outbox x
WHERE NOT EXISTS (SELECT FROM billing.billing_event kept WHERE kept.id = x.id)
UNION ALL
SELECT
    'payments'::text AS context,
    x.position::bigint AS position,
    (x.aggregatetype || ':' || x.aggregateid)::text AS stream_id,
    x.number::bigint AS event_number,
    x.type::text AS type,
    x.version::integer AS version,
    x.occurred_at::timestamptz AS at,
    x.actor::text AS actor,
    x.correlation_id::text AS correlation_id,
    x.causation_id::text AS causation_id,
    x.id::uuid AS event_id,
    x.recorded_at::timestamptz AS recorded_at,
    true::boolean AS in_history
FROM payments.payments_event x
UNION ALL
-- What its relay has not moved yet.
SELECT
    'payments'::text AS context,
    x.position::bigint AS position,
    (x.aggregatetype || ':' || x.aggregateid)::text AS stream_id,
    x.sequence::bigint AS event_number,
    x.type::text AS type,
    x.version::integer AS version,
    x.occurred_at::timestamptz AS at,
    x.actor::text AS actor,
    x.correlation_id::text AS correlation_id,
    x.causation_id::text AS causation_id,
    x.id::uuid AS event_id,
    x.created_at::timestamptz AS recorded_at,
    false::boolean AS in_history
FROM payments.payments_outbox x
WHERE NOT EXISTS (SELECT FROM payments.payments_event kept WHERE kept.id = x.id)
UNION ALL
SELECT
    'sagas'::text AS context,
    r.id::bigint AS position,
    ('sagas.saga:' || r.saga_id)::text AS stream_id,
    -- The commits of a saga come one after the other, those of its branches too.
    row_number() OVER (PARTITION BY r.saga_id ORDER BY r.committed_at, r.id)::bigint AS event_number,
    ('sagas.step.' || r.direction || '.' || r.state)::text AS type,
    1::integer AS version,
    r.committed_at::timestamptz AS at,
    nullif(r.worker, '')::text AS actor,
    s.correlation_id::text AS correlation_id,
    r.effect_key::text AS causation_id,
    NULL::uuid AS event_id,
    r.committed_at::timestamptz AS recorded_at,
    true::boolean AS in_history
FROM sagas.sagas_steprun r
LEFT JOIN sagas.sagas_saga s ON s.id = r.saga_id
-- An open branch of a group has committed nothing yet.
WHERE r.due_at IS NULL
