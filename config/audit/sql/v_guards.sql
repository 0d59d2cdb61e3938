-- One row per trigger of a table, which keeps its rows from changing or checks them.
SELECT
    c.relname::text AS table_name,
    t.tgname::text AS trigger_name,
    (t.tgenabled IN ('O', 'A'))::boolean AS enabled
FROM pg_trigger t
JOIN pg_class c ON c.oid = t.tgrelid
WHERE NOT t.tgisinternal
