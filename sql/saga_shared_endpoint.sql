-- Two sagas at one endpoint that list the same type: what one of them fails at comes again for
-- that one alone; the other has had it.
ALTER DATABASE :"DBNAME" SET saga.workers = 0;
SET client_min_messages = warning;
CREATE EXTENSION ecommerce;
\pset format unaligned
\pset tuples_only on

CREATE TABLE broken (saga text);
CREATE FUNCTION heard(document jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN
	IF EXISTS (SELECT FROM public.broken b WHERE b.saga = document #>> '{saga,name}') THEN
		RAISE EXCEPTION 'not now';
	END IF;
	RETURN jsonb_build_object('heard', coalesce((document #>> '{data,heard}')::int, 0) + 1);
END $$;
CREATE FUNCTION counting(bad jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT jsonb_set('{"endpoint": "both",
	"initial": "A", "events": {"Begin": {}, "Next": {}, "Bad": {}, "End": {}}, "start": {"Begin": {"goto": "A"}},
	"states": {"A": {"default": "ignore", "timer": "none", "on": {"Next": {"call": "public.heard(jsonb)"},
			"End": {"goto": "Z"}}},
		"Z": {"kind": "final", "default": "ignore"}}}', '{states,A,on,Bad}', bad) $$;
CREATE FUNCTION id(n int) RETURNS uuid LANGUAGE sql AS
$$ SELECT ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid $$;
CREATE PROCEDURE tell(message_type text, n int, message int DEFAULT NULL) LANGUAGE plpgsql AS $$ BEGIN
	PERFORM ecommerce.set_context(id(n));
	PERFORM message_bus.send('both', message_type, '{}', id(message));
	COMMIT;
	WHILE saga.run() > 0 LOOP COMMIT; END LOOP;
END $$;
CREATE VIEW heard AS SELECT saga, right(correlation_id::text, 1) AS n, data ->> 'heard' AS heard
	FROM saga.instance ORDER BY 1, 2;
SELECT message_bus.create_endpoint('both', 1, '{"kind": "interval", "limit": 5, "interval": "1 h"}');
SELECT saga.define('one', counting('{"call": "public.heard(jsonb)"}')), saga.define('two', counting('"fault"'));

-- It waits for both of them, and one fails at it when it is created.
CALL tell('Next', 1);
SELECT saga, message_type FROM saga.parked ORDER BY 1;
INSERT INTO broken VALUES ('one');
SELECT (saga.create('one', id(1))).version, (saga.create('two', id(1))).version;
TABLE heard;
TRUNCATE broken;
SELECT saga.run(), saga.run();
TABLE heard;
-- Both fail: it comes for each.
CALL tell('Next', 2);
INSERT INTO broken VALUES ('one'), ('two');
SELECT (saga.create('one', id(2))).version, (saga.create('two', id(2))).version;
TRUNCATE broken;
SELECT saga.run(), saga.run();
TABLE heard;
-- It waits for one still, while the other is there, fails at it and gets it again.
CALL tell('Next', 3);
INSERT INTO broken VALUES ('one');
SELECT (saga.create('one', id(3))).version;
TRUNCATE broken;
SELECT saga.run(), saga.run();
SELECT saga, message_type FROM saga.parked;
SELECT (saga.create('two', id(3))).version;
TABLE heard;
-- Both have it parked, and fail one after the other: the second gets it, though it was sent again.
CALL tell('Next', 4);
INSERT INTO broken VALUES ('one');
SELECT (saga.create('one', id(4))).version;
TRUNCATE broken;
SELECT saga.run(), saga.run();
INSERT INTO broken VALUES ('two');
SELECT (saga.create('two', id(4))).version;
TRUNCATE broken;
SELECT saga.run(), saga.run();
TABLE heard;
SELECT saga, message_type FROM saga.parked;
-- Who copies the header of what he answers passes nobody over.
BEGIN;
SELECT ecommerce.set_context(id(4));
SELECT message_bus.send('both', 'Next', '{}', headers => jsonb_build_object('sent_again_of', id(77))) IS NOT NULL;
COMMIT;
SELECT saga.run();
SELECT * FROM heard WHERE n = '4';
-- A fault of one: what is redriven is not new to the other.
CALL tell('Bad', 3, 99);
TABLE heard;
SELECT reason, error FROM message_bus.dead_letters;
SELECT message_bus.redrive(id(99));
SELECT saga.run(), saga.run();
TABLE heard;
SELECT count(*) FROM message_bus.dead_letters;
SELECT * FROM saga.verify();
