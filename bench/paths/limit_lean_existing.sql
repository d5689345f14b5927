-- 200 rows, one a transaction, into the lean limit's table: what append_existing is measured by.
DEALLOCATE ALL;
\if `test :turn = 1 && echo 1 || echo 0`
\ir ../contenders/limit_lean/setup.sql
\endif
INSERT INTO event (stream, version, event_type, data)
SELECT 'order-7f3c2a9e5d1b4c80-' || :turn || '-' || s, 1, 'OrderCreated', :'data' FROM generate_series(0, 9) s;
PREPARE append(text, bigint, jsonb) AS INSERT INTO event (stream, version, event_type, data, metadata)
	VALUES ('order-7f3c2a9e5d1b4c80-' || $1, $2 + 1, 'OrderCreated', :'data', $3);
-- counted
SELECT format('EXECUTE append(%L, %s, %L)', :turn || '-' || i % 10, i / 10 + 1,
	jsonb_set(:'metadata', '{correlation_id}', to_jsonb(gen_random_uuid())))
FROM generate_series(0, 199) i \gexec
