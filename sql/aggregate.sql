-- Aggregates: load, save, snapshots, time travel; the order aggregate.
CREATE EXTENSION ecommerce;

CREATE FUNCTION attempt(command text, OUT state text, OUT message text, OUT detail text,
	OUT hint text)
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE command;
	state := 'ok';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
		detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
END $$;
CREATE FUNCTION new_event(event_type text, data jsonb DEFAULT '{}', at timestamptz DEFAULT NULL)
RETURNS event_store.new_event LANGUAGE sql
AS $$ SELECT ROW(event_type, data, NULL, NULL, at, NULL)::event_store.new_event $$;

-- ------------------------------------------------------------ definition
CREATE FUNCTION opened(state jsonb, event event_store.event) RETURNS jsonb LANGUAGE sql
AS $$ SELECT state || jsonb_build_object('owner', (event).data -> 'owner') $$;
CREATE FUNCTION deposited(state jsonb, event event_store.event) RETURNS jsonb LANGUAGE sql
AS $$ SELECT state || jsonb_build_object('balance',
	(state ->> 'balance')::numeric + ((event).data ->> 'amount')::numeric) $$;
CREATE FUNCTION withdrawn(state jsonb, event event_store.event) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	RETURN jsonb_set(state, '{balance}',
		to_jsonb((state ->> 'balance')::numeric - (event.data ->> 'amount')::numeric));
END $$;
SELECT event_store.create_aggregate('account', '{"balance": 0}');
SELECT event_store.create_event_handler('account', 'Opened', 'opened(jsonb, event_store.event)');
SELECT event_store.create_event_handler('account', 'Deposited', 'deposited(jsonb,
	event_store.event)');
SELECT event_store.create_event_handler('account', 'Withdrawn', 'withdrawn(jsonb,
	event_store.event)');
SELECT * FROM attempt($$SELECT event_store.create_aggregate('a-b')$$);
SELECT * FROM attempt($$SELECT event_store.create_aggregate('')$$);
SELECT * FROM attempt($$SELECT event_store.create_aggregate(NULL)$$);
SELECT * FROM attempt($$SELECT event_store.create_aggregate('x', NULL)$$);
SELECT * FROM attempt($$SELECT event_store.create_aggregate('x', '{}', 0)$$);
SELECT * FROM attempt($$
	SELECT event_store.create_event_handler('x', 'Opened', 'opened(jsonb, event_store.event)')$$);
SELECT * FROM attempt($$
	SELECT event_store.create_event_handler('account', 'Opened', 'lower(text)')$$);
SELECT * FROM attempt($$SELECT event_store.create_event_handler('account', 'Opened', NULL)$$);
SELECT * FROM attempt($$
	SELECT event_store.create_event_handler('account', '', 'opened(jsonb, event_store.event)')$$);
SELECT handler FROM event_store.event_handler ORDER BY event_type;

-- ------------------------------------------------------------ load and save
SELECT * FROM event_store.load('account-1');
SELECT * FROM attempt($$SELECT event_store.load('nothing-1')$$);
SELECT * FROM attempt($$SELECT event_store.load('')$$);
SELECT * FROM attempt($$SELECT event_store.load(NULL)$$);
SELECT * FROM attempt($$SELECT event_store.load('account-1', -1)$$);
SELECT * FROM event_store.save('account-1', 0, ARRAY[new_event('Opened', '{"owner": "Ann"}',
	'2024-01-01Z'),
	new_event('Deposited', '{"amount": 10.50}', '2024-01-02Z')]);
SELECT * FROM event_store.save('account-1', 2, ARRAY[new_event('Withdrawn', '{"amount": 0.25}',
	'2024-01-03Z')]);
SET timezone = 'UTC';
SELECT * FROM event_store.load('account-1');
SELECT * FROM event_store.save('account-1', 3, '{}');
SELECT * FROM event_store.save('account-1', 7, '{}');
SELECT * FROM attempt($$SELECT event_store.save('account-1', 2, ARRAY[new_event('Deposited')])$$);
SELECT * FROM attempt($$
	SELECT event_store.save('account-1', NULL, ARRAY[new_event('Deposited')])$$);
SELECT * FROM attempt($$SELECT event_store.save('account-1', 3, NULL)$$);
SELECT * FROM attempt($$SELECT event_store.save('account-1', -1, ARRAY[new_event('Deposited')])$$);
SELECT * FROM attempt($$SELECT event_store.save('account-1', 3, ARRAY[new_event('Closed')])$$);
SELECT * FROM attempt($$SELECT event_store.save('account-1', 3, ARRAY[new_event(NULL)])$$);
SELECT * FROM attempt($$SELECT event_store.save('nothing-1', 0, ARRAY[new_event('Closed')])$$);
SELECT event_store.stream_version('account-1');

-- Time travel: by version, and by the longest beginning up to a time.
SELECT v, l.* FROM generate_series(0, 4) v, event_store.load('account-1', v) l;
SELECT t, l.state, l.version FROM unnest('{2023-12-31Z, 2024-01-01Z, 2024-01-02 12:00Z,
	2024-02-01Z}'::timestamptz[]) t,
	event_store.load('account-1', at_time => t) l;
SELECT l.state, l.version FROM event_store.load('account-1', 2, '2024-01-01Z') l;
-- Times may run backwards in imports; then the prefix ends at the first that is too late.
SELECT event_store.save('account-2', 0, ARRAY[new_event('Opened', '{"owner": "Bob"}',
	'2024-01-05Z'),
	new_event('Deposited', '{"amount": 1}', '2024-01-02Z')]);
SELECT l.version FROM event_store.load('account-2', at_time => '2024-01-03Z') l;
SELECT l.version, l.created_at, l.updated_at FROM event_store.load('account-2', at_time
	=> '2024-01-05Z') l;

-- An event that somebody appended without a handler.
SELECT event_store.append('account-3', 0, 'Closed', '{}');
SELECT * FROM attempt($$SELECT event_store.load('account-3')$$);

-- Handlers of every kind: one that is null, fails, returns its argument, calls load itself.
CREATE FUNCTION noted(state jsonb, event event_store.event) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	IF event.data ? 'null' THEN RETURN NULL; END IF;
	IF event.data ? 'fail' THEN RAISE division_by_zero; END IF;
	IF event.data ? 'load' THEN
		RETURN state || jsonb_build_object('loaded',
			(event_store.load(event.data ->> 'load')).state);
	END IF;
	RETURN state;
END $$;
SELECT event_store.create_event_handler('account', 'Noted', 'noted(jsonb, event_store.event)');
SELECT event_store.append_json('account-4', 0, '[{"event_type": "Noted", "data": {}},
	{"event_type": "Noted", "data": {"load": "account-5"}},
	{"event_type": "Noted", "data": {}}]');
SELECT event_store.append_json('account-5', 0, '[{"event_type": "Noted", "data": {}},
	{"event_type": "Deposited", "data": {"amount": 3}},
	{"event_type": "Noted", "data": {}}]');
SELECT state, version FROM event_store.load('account-4');
SELECT event_store.append('account-6', 0, 'Noted', '{"null": 1}');
SELECT * FROM attempt($$SELECT event_store.load('account-6')$$);
SELECT event_store.append('account-7', 0, 'Noted', '{"fail": 1}');
SELECT * FROM attempt($$SELECT event_store.load('account-7')$$);
SELECT state, version FROM event_store.load('account-4');
-- The handler's function is looked up when it is used.
DROP FUNCTION noted(jsonb, event_store.event) CASCADE;
SELECT * FROM attempt($$SELECT event_store.load('account-4')$$);
CREATE FUNCTION noted(state jsonb, event event_store.event) RETURNS jsonb LANGUAGE sql
	AS $$ SELECT '{"again": true}'::jsonb $$;
SELECT state, version FROM event_store.load('account-4');
SELECT event_store.drop_event_handler('account', 'Noted');
SELECT * FROM attempt($$SELECT event_store.load('account-4')$$);
SELECT * FROM attempt($$SELECT event_store.drop_event_handler('account', 'Noted')$$);

-- Old events come in the newest shape.
CREATE FUNCTION to_cents(data jsonb) RETURNS jsonb LANGUAGE sql
AS $$ SELECT jsonb_build_object('amount', 100 * (data ->> 'amount')::numeric) $$;
SELECT event_store.register_upcaster('Deposited', 1, 'to_cents(jsonb)');
SELECT state FROM event_store.load('account-1');

-- ------------------------------------------------------------ for update
SELECT state, version FROM event_store.load('account-1', for_update => true);
SELECT state, version FROM event_store.load('account-none', for_update => true);
SELECT * FROM attempt($$SELECT event_store.load('account-1', 1, for_update => true)$$);
SELECT * FROM attempt($$SELECT event_store.load('account-1', at_time => now(), for_update => true)$$);
SELECT * FROM attempt($$SELECT event_store.load('nothing-1', for_update => true)$$);
CREATE ROLE regress_aggregate_reader IN ROLE ecommerce_reader;
GRANT EXECUTE ON FUNCTION attempt TO regress_aggregate_reader;
SET ROLE regress_aggregate_reader;
SELECT version FROM event_store.load('account-1');
SELECT state, message FROM attempt($$SELECT event_store.load('account-1', for_update => true)$$);
RESET ROLE;
REVOKE ALL ON FUNCTION attempt FROM regress_aggregate_reader;
DROP ROLE regress_aggregate_reader;

-- ------------------------------------------------------------ save_json
SELECT version FROM event_store.save_json('account-json', 0,
	'[{"event_type": "Opened", "data": {"owner": "Eve"}}, {"event_type": "Deposited", "data": {"amount": 5}}]');
SELECT state, version FROM event_store.load('account-json');
SELECT * FROM event_store.save_json('account-json', 2, '[]');
SELECT * FROM attempt($$SELECT event_store.save_json('account-json', 1,
	'[{"event_type": "Deposited", "data": {"amount": 5}}]')$$);
SELECT * FROM attempt($$SELECT event_store.save_json('account-json', 2,
	'[{"event_type": "Unheard", "data": {}}]')$$);
SELECT * FROM attempt($$SELECT event_store.save_json('account-json', 2, '{}')$$);
SELECT * FROM attempt($$SELECT event_store.save_json('account-json', 2, NULL)$$);
SELECT * FROM attempt($$SELECT event_store.save_json('account-json', NULL, '[]')$$);
SELECT * FROM attempt($$SELECT event_store.save_json('account-json', -1, '[]')$$);

-- ------------------------------------------------------------ snapshots
SELECT event_store.create_aggregate('meter', '{"n": 0}', 4);
CREATE FUNCTION counted(state jsonb, event event_store.event) RETURNS jsonb LANGUAGE sql
AS $$ SELECT jsonb_build_object('n', (state ->> 'n')::int + 1) $$;
SELECT event_store.create_event_handler('meter', 'Counted', 'counted(jsonb, event_store.event)');
SELECT event_store.save('meter-1', 0, array_fill(new_event('Counted', at => '2024-01-01Z'), '{3}'));
SELECT count(*) FROM event_store.snapshot;
SELECT event_store.save('meter-1', 3, array_fill(new_event('Counted', at => '2024-01-02Z'), '{2}'));
SELECT event_store.save('meter-1', 5, array_fill(new_event('Counted', at => '2024-01-03Z'), '{3}'));
SELECT stream, version, state, created_at, updated_at FROM event_store.snapshot ORDER BY 2;
-- That loading starts there shows when the snapshot says something else.
UPDATE event_store.snapshot SET state = jsonb_build_object('n', 1000 * version);
SELECT event_store.save('meter-1', 8, array_fill(new_event('Counted', at => '2024-01-04Z'), '{1}'));
SELECT * FROM event_store.load('meter-1');
SELECT v, l.state FROM unnest('{4, 5, 7, 8, 9}'::int[]) v, event_store.load('meter-1', v) l;
SELECT t, l.state FROM unnest('{2024-01-01Z, 2024-01-02Z, 2024-01-03Z}'::timestamptz[]) t,
	event_store.load('meter-1', at_time => t) l;
-- A replaced body makes them useless, as another handler does, a new one,
-- another initial state, an upcaster.
CREATE OR REPLACE FUNCTION counted(state jsonb, event event_store.event) RETURNS jsonb LANGUAGE sql
AS $$ SELECT jsonb_build_object('n', (state ->> 'n')::int + 2) $$;
SELECT state, version FROM event_store.load('meter-1');
SELECT event_store.save('meter-1', 9, array_fill(new_event('Counted'), '{3}'));
SELECT version, state FROM event_store.snapshot ORDER BY 1;
CREATE FUNCTION poison(marker text) RETURNS void LANGUAGE sql
AS $$ UPDATE event_store.snapshot SET state = jsonb_build_object('n', -1000, 'from', marker)
	WHERE stream = 'meter-1' $$;
SELECT poison('snapshot');
SELECT state FROM event_store.load('meter-1');
CREATE FUNCTION counted_too(state jsonb, event event_store.event) RETURNS jsonb LANGUAGE sql
AS $$ SELECT jsonb_build_object('n', (state ->> 'n')::int + 3) $$;
-- the same again does nothing, another one only when it is meant to
SELECT event_store.create_event_handler('meter', 'Counted', 'counted(jsonb, event_store.event)'),
	event_store.create_aggregate('meter', '{"n": 0}', 4);
SELECT * FROM attempt($$SELECT event_store.create_event_handler('meter', 'Counted', 'counted_too(jsonb, event_store.event)')$$);
SELECT * FROM attempt($$SELECT event_store.create_aggregate('meter', '{"n": 0}', 5)$$);
SELECT * FROM attempt($$SELECT event_store.create_aggregate('meter', '{"n": 1}', 4)$$);
SELECT event_store.create_event_handler('meter', 'Counted', 'counted_too(jsonb,
	event_store.event)', true);
SELECT state FROM event_store.load('meter-1');
SELECT event_store.create_event_handler('meter', 'Counted', 'counted(jsonb, event_store.event)', true);
SELECT state AS usable_again FROM event_store.load('meter-1');
SELECT event_store.create_event_handler('meter', 'Other', 'counted(jsonb, event_store.event)');
SELECT state FROM event_store.load('meter-1');
SELECT event_store.drop_event_handler('meter', 'Other');
SELECT event_store.create_aggregate('meter', '{"n": 5}', 4, replace => true);
SELECT state FROM event_store.load('meter-1');
SELECT event_store.create_aggregate('meter', '{"n": 0}', 4, replace => true);
SELECT event_store.register_upcaster('Counted', 1, 'to_cents(jsonb)');
SELECT state FROM event_store.load('meter-1');
-- Without snapshots none is looked at.
DELETE FROM event_store.upcaster WHERE event_type = 'Counted';
SELECT event_store.create_aggregate('meter', '{"n": 0}', replace => true);
SELECT state FROM event_store.load('meter-1');
SELECT event_store.create_aggregate('meter', '{"n": 0}', 4, replace => true);
SELECT state AS usable_again FROM event_store.load('meter-1');
-- One taken with a handler that came back is of no use either once it has changed again.
DROP FUNCTION counted(jsonb, event_store.event) CASCADE;
SELECT * FROM attempt($$SELECT event_store.save('meter-3', 0, array_fill(new_event('Counted'),
	'{4}'))$$);
CREATE FUNCTION counted(state jsonb, event event_store.event) RETURNS jsonb LANGUAGE sql
AS $$ SELECT jsonb_build_object('n', (state ->> 'n')::int + 1) $$;
SELECT event_store.save('meter-3', 0, array_fill(new_event('Counted'), '{4}'));
SELECT version, state FROM event_store.snapshot WHERE stream = 'meter-3';
CREATE OR REPLACE FUNCTION counted(state jsonb, event event_store.event) RETURNS jsonb LANGUAGE sql
AS $$ SELECT jsonb_build_object('n', (state ->> 'n')::int + 2) $$;
SELECT state FROM event_store.load('meter-3');
SELECT event_store.tombstone_stream('meter-3', 4);
-- A save that is rolled back takes its snapshot along.
BEGIN;
SELECT event_store.save('meter-2', 0, array_fill(new_event('Counted'), '{4}'));
SELECT count(*) FROM event_store.snapshot WHERE stream = 'meter-2';
ROLLBACK;
SELECT count(*) FROM event_store.snapshot WHERE stream = 'meter-2';
-- Deletion takes them along; the stream begins anew.
SELECT event_store.delete_stream('meter-1', 12);
SELECT * FROM event_store.load('meter-1');
SELECT count(*) FROM event_store.snapshot;
SELECT event_store.save('meter-1', 0, array_fill(new_event('Counted'), '{5}'));
SELECT state, version FROM event_store.load('meter-1');
SELECT version, state FROM event_store.snapshot;
SELECT state, version FROM event_store.load('meter-1', 12);
SELECT event_store.tombstone_stream('meter-1', 17);
SELECT * FROM event_store.load('meter-1');
SELECT count(*) FROM event_store.snapshot;
-- A save that is repeated with its event ids says the same again.
SELECT save FROM generate_series(1, 2) n, event_store.save('meter-5', 0, (SELECT array_agg(
	ROW('Counted', '{}', NULL, ('e0000000-0000-4000-8000-00000000000' || i)::uuid, NULL, NULL)
		::event_store.new_event) FROM generate_series(1, 4) i)) save;
SELECT state, version FROM event_store.load('meter-5');
SELECT version, state FROM event_store.snapshot WHERE stream = 'meter-5';
-- What a retention rule hides is folded as long as a snapshot covers it. Snapshots can go.
SELECT event_store.save('meter-4', 0, array_fill(new_event('Counted'), '{6}'));
SELECT event_store.set_retention('meter-4', truncate_before => 5);
SELECT state, version FROM event_store.load('meter-4');
TRUNCATE event_store.snapshot;
SELECT state, version FROM event_store.load('meter-4');
SELECT event_store.drop_aggregate('meter');
SELECT * FROM attempt($$SELECT event_store.load('meter-1')$$);
SELECT * FROM attempt($$SELECT event_store.drop_aggregate('meter')$$);

-- Handlers run with the rights of who registered them, whoever loads.
CREATE TABLE secret (word text);
INSERT INTO secret VALUES ('sesame');
CREATE FUNCTION peek(state jsonb, event event_store.event) RETURNS jsonb LANGUAGE sql
AS $$ SELECT state || jsonb_build_object('word', (SELECT word FROM public.secret), 'who',
	current_user) $$;
SELECT event_store.create_event_handler('account', 'Peeked', 'peek(jsonb, event_store.event)');
SELECT event_store.append('account-8', 0, 'Peeked', '{}');
SELECT state ->> 'word' AS word FROM event_store.load('account-8');
CREATE ROLE aggregate_reader IN ROLE ecommerce_reader;
SET ROLE aggregate_reader;
SELECT * FROM attempt($$SELECT event_store.load('account-8')$$);
SELECT event_store.save('account-8', 1, '{}');
SELECT event_store.create_aggregate('mine');
RESET ROLE;
SELECT state ->> 'who' = session_user AS as_registrar FROM event_store.load('account-8');
REVOKE EXECUTE ON FUNCTION peek(jsonb, event_store.event) FROM PUBLIC;
SET ROLE aggregate_reader;
SELECT * FROM attempt($$SELECT event_store.load('account-8')$$);
RESET ROLE;
DROP ROLE aggregate_reader;
SELECT state ->> 'word' AS word FROM event_store.load('account-8');

-- ------------------------------------------------------------ the order aggregate
SELECT ecommerce.install_order_aggregate();
SELECT ecommerce.install_order_aggregate() AS again;
CREATE TABLE given AS SELECT
	'c0000000-0000-4000-8000-000000000001'::uuid AS customer,
	'[{"product_id": "b0000000-0000-4000-8000-000000000001", "product_name": "Mug", "sku": "MUG-1",
	   "quantity": 2, "unit_price": 7.50},
	  {"product_id": "b0000000-0000-4000-8000-000000000002", "product_name": "Tea", "sku": "TEA-1",
	   "quantity": 1, "unit_price": 4.99}]'::jsonb AS lines,
	'{"street": "1 High St", "city": "Leeds", "state": "", "postal_code": "LS1",
	  "country": "GB"}'::jsonb AS address,
	'{"type": "card", "last4_digits": "4242", "token": null}'::jsonb AS card;
CREATE FUNCTION id(n int) RETURNS uuid LANGUAGE sql
AS $$ SELECT ('a0000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid $$;
-- An order with the given lines, or with others.
CREATE FUNCTION place(n int, total numeric DEFAULT NULL) RETURNS bigint LANGUAGE sql AS $$
	SELECT ecommerce.create_order(public.id(n), customer, lines, address, card, total)
	FROM public.given $$;
CREATE FUNCTION place_lines(n int, other jsonb) RETURNS bigint LANGUAGE sql AS $$
	SELECT ecommerce.create_order(public.id(n), customer, other, address, card)
	FROM public.given $$;
SELECT place(1);
SELECT jsonb_pretty(state), version FROM event_store.load('order-' || id(1));
SELECT ecommerce.confirm_order(id(1), 'N-1');
SELECT ecommerce.complete_order(id(1));
SELECT state ->> 'status' AS status, state ->> 'confirmation_number' AS number, version
FROM event_store.load('order-' || id(1));
SELECT place(2), ecommerce.cancel_order(id(2), 'too late');
SELECT place(3, 19.99);
SELECT ecommerce.confirm_order(id(3), 'N-3', 1);
SELECT ecommerce.cancel_order(id(3), 'changed my mind', 'R-3', 2);
SELECT v, state ->> 'status' AS status, state ->> 'refund_id' AS refund
FROM generate_series(0, 3) v, event_store.load('order-' || id(3), v);
SELECT event_type, data FROM event_store.read_stream('order-' || id(3), 2);
SELECT place(4);
SELECT place(5), ecommerce.confirm_order(id(5), 'N-5');
-- Every step from every state; each is undone.
SELECT s.state AS "from", t.step, a.state, a.message, a.detail
FROM (VALUES ('unknown', 9), ('Created', 4), ('Confirmed', 5), ('Completed', 1), ('Cancelled', 2))
		AS s (state, n),
	(VALUES ('create', 'public.place(%s)'),
		('confirm', 'ecommerce.confirm_order(public.id(%s), ''N'')'),
		('cancel', 'ecommerce.cancel_order(public.id(%s), ''why'')'),
		('complete', 'ecommerce.complete_order(public.id(%s))')) AS t (step, command),
	LATERAL attempt(format('DO $do$ BEGIN PERFORM ' || t.command
		|| '; RAISE SQLSTATE ''OK000''; END $do$', s.n)) a
ORDER BY s.state = 'unknown' DESC, s.state, t.step;
-- Every rule.
SELECT v.what, a.state, a.message, a.detail
FROM given, LATERAL (VALUES
	('no lines', '[]'::jsonb),
	('a quantity of none', jsonb_set(lines, '{1,quantity}', '0')),
	('a negative quantity', jsonb_set(lines, '{0,quantity}', '-2')),
	('a negative price', jsonb_set(lines, '{0,unit_price}', '-7.50')),
	('a wrong line total', jsonb_set(lines, '{0,total_price}', '14.99')),
	('501 lines', array_to_json(array_fill(lines -> 0, '{501}'))::jsonb),
	('a price in thirds', jsonb_set(lines, '{0,unit_price}', '0.333')),
	('a line that is no object', '[3]'),
	('lines that are no list', '{}'),
	('no lines at all', NULL),
	('a word for a price', jsonb_set(lines, '{0,unit_price}', '"much"')),
	('a huge quantity', jsonb_set(lines, '{1,quantity}', '1e131071')),
	('a huge price', jsonb_set(lines, '{1,unit_price}', '1e131071')),
	('both huge', jsonb_set(jsonb_set(lines, '{1,quantity}', '1e131071'),
		'{1,unit_price}', '1e131071')),
	('a price that makes a huge total', jsonb_set(jsonb_set(lines, '{1,quantity}', '2147483647'),
		'{1,unit_price}', '9999999999999.99')),
	('a line with a total of its own that is no number', jsonb_set(lines, '{1,total_price}',
		'"4.99 or so"'))) AS v (what, other),
	attempt(format('SELECT public.place_lines(9, %L)', v.other)) a;
SELECT * FROM attempt('SELECT public.place(9, 20)');
SELECT v.total, a.state, a.message
FROM unnest('{NaN, Infinity, 19.990, 1e20}'::text[]) v (total),
	attempt(format('SELECT public.place(9, %L)', v.total)) a;
SELECT place_lines(6, jsonb_agg(lines -> 0)) FROM given, generate_series(1, 500);
SELECT place_lines(7, jsonb_set(lines, '{0,unit_price}', '0')) FROM given;
SELECT state ->> 'total_amount' AS total FROM event_store.load('order-' || id(7));
SELECT c.* FROM event_store.read_stream('order-' || id(1), 1, 1) e,
	jsonb_populate_record(NULL::ecommerce.order_created, e.data || '{"total_amount": 1}') o,
	ecommerce.check_order(o) c;
SELECT * FROM attempt($$SELECT ecommerce.confirm_order(id(4), 'N', 5)$$);
SELECT * FROM attempt($$SELECT ecommerce.confirm_order(id(4), NULL)$$);
SELECT * FROM attempt($$SELECT ecommerce.confirm_order(NULL, 'N')$$);
SELECT * FROM attempt($$SELECT ecommerce.cancel_order(id(4), NULL)$$);

-- A handler can be called by hand: state and event in, state out.
SELECT ecommerce.apply_order_created('{}', ROW(1, 'order-x', 1, NULL, 'OrderCreated', 1,
	'{"total_amount": 1}', '{}', NULL)::event_store.event);

-- When retention hides what a stream has, or all of it, its version is still what the next
-- save must expect.
SELECT event_store.create_aggregate('hidden', snapshot_every => 2),
	event_store.create_event_handler('hidden', 'Deposited', h.handler::regprocedure)
FROM event_store.event_handler h WHERE h.event_type = 'Deposited' LIMIT 1;
SELECT event_store.append('hidden-1', 0, 'Deposited', '{"amount": 5}', event_id => id(801)) IS NOT NULL
FROM generate_series(1, 1);
SELECT version FROM event_store.append('hidden-1', 1, 'Deposited', '{"amount": 5}');
SELECT event_store.set_retention('hidden', max_age => '0 s');
SELECT * FROM event_store.load('hidden-1');
SELECT state IS NULL AS nothing, version FROM event_store.load('hidden-1', at_version => 1);
SELECT version FROM event_store.save('hidden-1', 2, ARRAY[new_event('Deposited')]);
SELECT event_store.set_retention('hidden', max_count => 0);
SELECT version FROM event_store.load('hidden-1');
SELECT event_store.scavenge() >= 0 AS scavenged, version FROM event_store.load('hidden-1');
SELECT version FROM event_store.save('hidden-1', 3, ARRAY[new_event('Deposited')]);
-- imported events may be older than those before them
SELECT event_store.set_retention('hidden', max_age => '1 day');
SELECT version FROM event_store.append_batch('hidden-2', 0,
	ARRAY[ROW('Deposited', '{"amount": 1}', NULL, NULL, now(), NULL),
		ROW('Deposited', '{"amount": 1}', NULL, NULL, now() - interval '2 days', NULL)]::event_store.new_event[]);
SELECT state IS NOT NULL AS something, version FROM event_store.load('hidden-2');

-- A repair changes what snapshots were made of: those of the stream go, others stay.
SELECT event_store.set_retention('hidden');
CREATE FUNCTION hidden_snapshots() RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(stream || ' ' || version, ', ' ORDER BY stream COLLATE "C", version)
	FROM event_store.snapshot WHERE stream LIKE 'hidden-%' $$;
SELECT event_store.save(s, 0, ARRAY[new_event('Deposited'), new_event('Deposited')]) IS NOT NULL AS saved
FROM unnest('{hidden-3,hidden-4,hidden-5,hidden-6,hidden-7}'::text[]) s;
SELECT hidden_snapshots();
BEGIN;
SET LOCAL event_store.allow_rewrite = on;
UPDATE event_store.stored_event SET data = data || '{"amount": 1000}' WHERE stream = 'hidden-3' AND version = 1;
DELETE FROM event_store.stored_event WHERE stream = 'hidden-4' AND version = 2;
UPDATE event_store.stream SET name = 'hidden-8' WHERE name = 'hidden-5';
-- our own statements know what they do
SELECT event_store.delete_stream('hidden-6', -1);
SELECT hidden_snapshots();
SAVEPOINT s;
TRUNCATE event_store.stored_event;
SELECT count(*) FROM event_store.snapshot;
ROLLBACK TO s;
SELECT hidden_snapshots();
COMMIT;
SELECT l.state, l.version FROM event_store.load('hidden-3') l;
