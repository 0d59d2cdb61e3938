-- One row per act of an operator.
SELECT
    a.id::uuid AS action_id,
    a.action::text AS action,
    a.target_type::text AS target_type,
    a.target_id::text AS target_id,
    a.by::text AS by,
    a.reason::text AS reason,
    a.outcome::text AS outcome,
    a.at::timestamptz AS at
FROM sagas.sagas_operatoraction a
