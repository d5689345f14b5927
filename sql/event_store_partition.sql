-- Partitions of subscriptions: by something else than the stream, and another number of them.
CREATE EXTENSION ecommerce;
\getenv top PG_ABS_SRCDIR
\set ECHO none
\i :top/sql/include/fails.sql
\set ECHO all
\pset format unaligned
\pset tuples_only on

CREATE TABLE got (n serial, name text, stream text, version bigint, position bigint, data jsonb,
	taken xid8 DEFAULT pg_current_xact_id());
-- A transaction of a consumer; how many events it took.
CREATE FUNCTION take(subscription text, most int DEFAULT 1000) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	last bigint;
	count bigint;
BEGIN
	WITH taken AS (INSERT INTO got (name, stream, version, position, data)
		SELECT subscription, stream, version, position, data FROM event_store.fetch(subscription, most)
		RETURNING position)
	SELECT max(position), count(*) INTO last, count FROM taken;
	IF last IS NOT NULL THEN
		PERFORM event_store.advance(subscription, last);
	END IF;
	RETURN count;
END
$$;
CREATE PROCEDURE take_all(subscription text, most int DEFAULT 1000) LANGUAGE plpgsql AS $$
BEGIN
	LOOP
		EXIT WHEN take(subscription, most) = 0;
		COMMIT;
	END LOOP;
END
$$;
-- All events once, those of a stream, or of what it goes by, in order.
CREATE FUNCTION sound(subscription text, total bigint) RETURNS text LANGUAGE sql AS $$
	SELECT format('%s of %s, %s twice, %s out of order', count(DISTINCT position), total,
		count(*) - count(DISTINCT position), count(*) FILTER (WHERE position < before))
	FROM (SELECT *, lag(position) OVER (PARTITION BY CASE WHEN name = 'customer'
			THEN coalesce(data #>> '{customer,id}', stream) ELSE stream END ORDER BY n) AS before
		FROM got WHERE name = subscription) g
$$;

-- ------------------------------------------------------------ by a value in the event
SELECT count(event_store.append('order-' || i % 20, -1, 'Placed', jsonb_build_object(
	'customer', jsonb_build_object('id', CASE i % 3 WHEN 0 THEN to_jsonb(i % 5) ELSE to_jsonb((i % 5)::text) END)),
	jsonb_build_object('region', i % 4)))
FROM generate_series(1, 200) i;
SELECT count(event_store.append('order-' || i % 4, -1, 'Sent', '{}')) FROM generate_series(1, 20) i;
SELECT event_store.create_subscription('stream', 'order', partitions => 3),
	event_store.create_subscription('customer', 'order', partitions => 3, partition_by => '$.customer.id'),
	event_store.create_subscription('region', 'order', partitions => 3, partition_by => '$metadata.region');
CALL take_all('stream');
CALL take_all('customer');
CALL take_all('region');
SELECT sound('customer', 220), sound('stream', 220);
SELECT count(*), count(DISTINCT position) FROM got WHERE name = 'region';
-- Each transaction had one partition: whose events were in more than one?
SELECT name, count(DISTINCT taken) AS partitions,
	(SELECT count(*) FROM (SELECT FROM got h WHERE h.name = g.name AND h.data ? 'customer'
		GROUP BY h.data->'customer'->>'id' HAVING count(DISTINCT h.taken) > 1) d) AS customers_apart,
	(SELECT count(*) FROM (SELECT FROM got h WHERE h.name = g.name
		GROUP BY h.stream HAVING count(DISTINCT h.taken) > 1) d) > 0 AS streams_apart
FROM got g GROUP BY name ORDER BY name;
SELECT count(*) FROM (SELECT FROM got g JOIN event_store.stored_event e USING (position)
	WHERE g.name = 'region' AND e.metadata ? 'region'
	GROUP BY e.metadata->'region' HAVING count(DISTINCT g.taken) > 1) d;
-- What has no such value goes by its stream, also if it is none that can be compared.
SELECT count(*) FROM (SELECT FROM got WHERE name = 'customer' AND NOT data ? 'customer'
	GROUP BY stream HAVING count(DISTINCT taken) > 1) d;
SELECT partition_by, sum(lag_events) FROM event_store.subscriptions GROUP BY 1 ORDER BY 1;
SELECT count(event_store.append('order-1', -1, 'Placed', d::jsonb)) FROM unnest(ARRAY['{"customer": {"id": null}}',
	'{"customer": {"id": [1]}}', '{"customer": {"id": true}}', '{"customer": 1}', '{"customer": {"id": 1.0}}']) d;
SELECT sum(lag_events) FROM event_store.subscriptions WHERE name = 'customer';
CALL take_all('customer');
SELECT sound('customer', 225);
SELECT fails($$SELECT event_store.create_subscription('bad', partition_by => 'customer')$$);
SELECT fails($$SELECT event_store.create_subscription('bad', partition_by => '$metadata')$$);
SELECT outcome($$SELECT event_store.create_subscription('bad', partition_by => '$.a[')$$);
-- What could not be evaluated in some event is no path either; in names and texts it may stand.
SELECT path, outcome(format('SELECT event_store.create_subscription(%L, %L, partition_by => %L)', 'bad', 'none', path))
FROM unnest(ARRAY['$.a[$i]', '$metadata.a ? (@ == $"x y")', '$.a ? (@ > $x).b', '$.a.datetime()',
	'$.a ? (@.datetime() < "2026-01-01".datetime())', '$.a."\"" ? (@ == $x)']) path;
SELECT count(event_store.create_subscription('good ' || path, 'none', partition_by => path))
FROM unnest(ARRAY['$.date', '$."$i"', '$.a ? (@.b == "$x").time', '$.a."\".date"', '$."$".timestamp']) path;
SELECT version FROM event_store.append('none-1', -1, 'T', '{"date": "1", "a": {"b": "$x", "time": 1}}');
SELECT sum((SELECT count(*) FROM event_store.fetch(name))) AS fetched
FROM event_store.subscriptions WHERE name LIKE 'good%';
SELECT count(event_store.drop_subscription(name)) FROM event_store.subscriptions WHERE name LIKE 'good%';
SELECT outcome($$SELECT event_store.create_subscription('customer', 'order', partitions => 3)$$),
	event_store.create_subscription('customer', 'order', partitions => 3, partition_by => '$.customer.id');

-- ------------------------------------------------------------ another number of them
SELECT event_store.create_subscription('mailer', 'order', partitions => 3);
SELECT take('mailer', 30), take('mailer', 10), take('mailer', 5);
SELECT count(DISTINCT checkpoint) > 1 AS apart FROM event_store.subscriptions WHERE name = 'mailer';
SELECT count(*) AS taken FROM got WHERE name = 'mailer' \gset
SELECT event_store.alter_subscription('mailer', partitions => 7);
SELECT count(*), count(DISTINCT checkpoint), sum(lag_events) + :taken FROM event_store.subscriptions WHERE name = 'mailer';
SELECT * FROM event_store.verify();
-- As long as nothing has been read it can be another number yet.
SELECT event_store.alter_subscription('mailer', partitions => 2), event_store.alter_subscription('mailer', partitions => 5);
SELECT sum(lag_events) + :taken FROM event_store.subscriptions WHERE name = 'mailer';
-- Then not until all of what lay between is read.
SELECT take('mailer', 3) > 0;
SELECT count(*) FROM fails($$SELECT event_store.alter_subscription('mailer', partitions => 4)$$) f
WHERE f LIKE '55006 subscription "mailer" has still to read%' OR f LIKE '  hint: Let its consumers%';
CALL take_all('mailer', 11);
SELECT sound('mailer', 225);
SELECT event_store.alter_subscription('mailer', partitions => 1);
SELECT count(event_store.append('order-' || i % 20, -1, 'Placed', '{}')) FROM generate_series(1, 40) i;
CALL take_all('mailer', 11);
SELECT sound('mailer', 265);
-- The same where they go by a value.
SELECT take('customer', 7), take('customer', 3);
SELECT event_store.alter_subscription('customer', partitions => 8);
CALL take_all('customer', 5);
SELECT sound('customer', 265);
-- What has been parked is given again from where its event falls now.
SELECT count(event_store.append('order-' || i % 20, -1, 'Placed', '{}')) FROM generate_series(1, 20) i;
BEGIN;
SELECT count(event_store.park('mailer', position)) FROM event_store.fetch('mailer');
SELECT event_store.advance('mailer', event_store.high_water_mark('order'));
COMMIT;
SELECT event_store.alter_subscription('mailer', partitions => 6);
SELECT count(DISTINCT partition) > 1 AS spread FROM event_store.parked_event;
SELECT event_store.replay_parked('mailer');
CALL take_all('mailer');
SELECT sound('mailer', 285), (SELECT count(*) FROM event_store.parked_event) AS parked;
-- In a transaction that has one on lease: it goes on with the new ones.
SELECT count(event_store.append('order-' || i % 20, -1, 'Placed', '{}')) FROM generate_series(1, 40) i;
BEGIN;
SELECT count(*) > 0 FROM event_store.fetch('mailer', 2);
SELECT event_store.alter_subscription('mailer', partitions => 2);
SELECT outcome($$SELECT event_store.advance('mailer', 1)$$);
SELECT take('mailer', 4) > 0;
COMMIT;
CALL take_all('mailer', 9);
SELECT sound('mailer', 325);
-- Back to where it was reset to, whatever had been passed.
SELECT event_store.alter_subscription('mailer', partitions => 3);
SELECT count(event_store.append('order-' || i % 20, -1, 'Placed', '{}')) FROM generate_series(1, 40) i;
SELECT take('mailer', 10) > 0;
SELECT event_store.alter_subscription('mailer', partitions => 2);
SELECT event_store.reset_subscription('mailer', 0);
DELETE FROM got WHERE name = 'mailer';
CALL take_all('mailer');
SELECT sound('mailer', 365);
SELECT outcome($$SELECT event_store.alter_subscription('mailer', partitions => 0)$$),
	outcome($$SELECT event_store.alter_subscription('mailer', partitions => 1025)$$),
	outcome($$SELECT event_store.alter_subscription('nobody', partitions => 2)$$);
SELECT * FROM event_store.verify();
