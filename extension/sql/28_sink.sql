-- Sinks: events that streamd publishes to topics of Kafka and to streams of NATS JetStream.

CREATE TABLE event_store.sink (
	name text COLLATE "C" PRIMARY KEY CHECK (name ~ '^[A-Za-z0-9_-]{1,100}$'),
	kind text NOT NULL CHECK (kind IN ('kafka', 'jetstream')),
	options jsonb NOT NULL,
	category text,
	event_types text[],
	paused boolean NOT NULL DEFAULT false,
	generation bigint NOT NULL DEFAULT 0,
	starts_after bigint NOT NULL DEFAULT 0 CHECK (starts_after >= 0),
	"position" bigint,
	lost boolean NOT NULL DEFAULT false,
	error text,
	error_at timestamptz,
	heard_at timestamptz,
	created_at timestamptz NOT NULL DEFAULT pg_catalog.now()
) WITH (fillfactor = 50);
COMMENT ON TABLE event_store.sink IS
'A sink. The place up to which it has events is kept there, with them; position is what streamd has said of it, the same or less. generation: rises with each reset_sink(), and is kept there too. starts_after: where a generation begins. lost: this database and the sink do not fit each other.';

-- ---------------------------------------------------------------- administration
CREATE FUNCTION event_store._sink_options(name text, kind text, options jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $sink_options$
DECLARE
	patterns CONSTANT jsonb := CASE kind
		WHEN 'kafka' THEN '{"broker": "[^=/]+", "topic": "[A-Za-z0-9._-]+", "positions": "[A-Za-z0-9._-]+", "source": "\\S+"}'
		WHEN 'jetstream' THEN '{"broker": "[^=/]+", "stream": "[A-Za-z0-9_-]+", "subject": "[^\\s*>.]+(\\.[^\\s*>.]+)*", "source": "\\S+"}'
		END;
	given record;
	problem text;
BEGIN
	problem := CASE
		WHEN name IS NULL OR name !~ '^[A-Za-z0-9_-]{1,100}$'
			THEN 'the name of a sink must have 1 to 100 letters, digits, - and _'
		WHEN patterns IS NULL THEN format('there is no kind of sink "%s"', kind)
		WHEN jsonb_typeof(options) IS DISTINCT FROM 'object' THEN 'options must be a JSON object'
		END;
	IF problem IS NULL THEN
		FOR given IN SELECT o.key, o.value FROM jsonb_each(options) o ORDER BY o.key LOOP
			problem := coalesce(problem, CASE
				WHEN NOT patterns ? given.key THEN format('a sink of kind %s has no option "%s"', kind, given.key)
				WHEN jsonb_typeof(given.value) <> 'string' OR length(given.value ->> 0) > 200
					OR given.value #>> '{}' !~ format('^(%s)$', patterns ->> given.key)
					THEN format('option "%s" cannot be %s', given.key, given.value)
				END);
		END LOOP;
	END IF;
	IF problem IS NOT NULL THEN
		RAISE EXCEPTION '%', problem USING ERRCODE = 'invalid_parameter_value',
			HINT = 'Kinds are kafka (options broker, topic, positions, source) and jetstream (broker, stream, subject, source); addresses and passwords stand in the file that streamd reads.';
	END IF;
	RETURN jsonb_build_object('broker', name, 'source', '/' || current_database()) || CASE kind
		WHEN 'kafka' THEN jsonb_build_object('topic', name, 'positions', name || '-position')
		ELSE jsonb_build_object('stream', name, 'subject', name) END || options;
END
$sink_options$;
COMMENT ON FUNCTION event_store._sink_options(text, text, jsonb) IS
'Options of a sink, with those that were left out; 22023 unless they are such as create_sink() takes.';

CREATE FUNCTION event_store._sinks_changed() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $sinks_changed$
BEGIN
	PERFORM pg_notify('event_store.sinks', '');
	RETURN NULL;
END
$sinks_changed$;
COMMENT ON FUNCTION event_store._sinks_changed() IS 'Tells streamd.';
CREATE TRIGGER sinks_changed
	AFTER INSERT OR DELETE OR UPDATE OF paused, generation ON event_store.sink
	FOR EACH STATEMENT EXECUTE FUNCTION event_store._sinks_changed();

CREATE FUNCTION event_store.create_sink(name text, kind text, options jsonb DEFAULT '{}',
	category text DEFAULT NULL, event_types text[] DEFAULT NULL, after_position bigint DEFAULT 0)
RETURNS void LANGUAGE c VOLATILE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_create_sink';
COMMENT ON FUNCTION event_store.create_sink(text, text, jsonb, text, text[], bigint) IS
'Lets streamd publish the events of a category and of some types (NULL: all) elsewhere, each once, in order, as CloudEvents. kind: kafka or jetstream. options, all of them optional: broker: section of the file that streamd reads (default: the sink''s name); source: attribute of the CloudEvents (/ and the database''s name). '
'kafka: topic (the sink''s name); positions: the topic that keeps how far it is (the name and -position). jetstream: stream, and subject, with which subjects begin (the name, both). '
'after_position: where a sink begins that has nothing from here yet; one that has goes on from there. '
'42710: the sink exists. 22023: no such kind or option, no good name, after_position is negative.';

CREATE FUNCTION event_store._find_sink(name text) RETURNS event_store.sink
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $find_sink$
DECLARE
	found_sink event_store.sink;
BEGIN
	SELECT * INTO found_sink FROM event_store.sink s WHERE s.name = _find_sink.name;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'sink "%" does not exist', name USING ERRCODE = 'ST013',
			HINT = 'Names are in event_store.sinks.';
	END IF;
	RETURN found_sink;
END
$find_sink$;
COMMENT ON FUNCTION event_store._find_sink(text) IS 'The sink of a name. ST013: there is none.';

CREATE FUNCTION event_store.pause_sink(name text) RETURNS void
LANGUAGE c VOLATILE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_pause_sink';
COMMENT ON FUNCTION event_store.pause_sink(text) IS
'Nothing more is published from soon after the commit on; what is missed follows after resume_sink(). ST013: no such sink.';

CREATE FUNCTION event_store.resume_sink(name text) RETURNS void
LANGUAGE c VOLATILE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_resume_sink';
COMMENT ON FUNCTION event_store.resume_sink(text) IS
'Ends what pause_sink() began. ST013: no such sink.';

CREATE FUNCTION event_store.drop_sink(name text) RETURNS void
LANGUAGE c VOLATILE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_drop_sink';
COMMENT ON FUNCTION event_store.drop_sink(text) IS
'Drops a sink here; topics and streams stay, and know how far they are: one that is created again under the same name goes on there. ST013: no such sink.';

CREATE FUNCTION event_store.reset_sink(name text, to_position bigint) RETURNS void
LANGUAGE c VOLATILE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_reset_sink';
COMMENT ON FUNCTION event_store.reset_sink(text, bigint) IS
'Lets a sink go on with what comes after a position of this database, whatever it has: what lies between is left out, or comes again. For one that is lost. ST013: no such sink. 22023: to_position is negative.';

-- ---------------------------------------------------------------- for streamd
CREATE FUNCTION event_store._lock_sink(name text) RETURNS boolean LANGUAGE c VOLATILE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_lock_sink';
COMMENT ON FUNCTION event_store._lock_sink(text) IS
'Locks a sink''s name until the session ends; false if another session has it.';

CREATE FUNCTION event_store.claim_sink(name text, OUT claimed boolean, OUT state text,
	OUT generation bigint, OUT starts_after bigint, OUT "position" bigint)
RETURNS record LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $claim_sink$
DECLARE
	s CONSTANT event_store.sink := event_store._find_sink(name);
BEGIN
	claimed := event_store._lock_sink(name);
	state := CASE WHEN s.lost THEN 'lost' WHEN s.paused THEN 'paused' ELSE 'running' END;
	generation := s.generation;
	starts_after := s.starts_after;
	"position" := s."position";
END
$claim_sink$;
COMMENT ON FUNCTION event_store.claim_sink(text) IS
'For streamd: makes this session the one that publishes to a sink, until it ends (claimed false: another one is), and tells what is known of the sink. ST013: no such sink.';

CREATE FUNCTION event_store._to_cloudevent(event event_store.event, options jsonb) RETURNS json
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $to_cloudevent$
	SELECT json_build_object('position', event.position, 'stream', event.stream,
		'category', split_part(event.stream, '-', 1), 'type', event.event_type, 'id', event.event_id,
		'body', event.data::text, 'attributes', json_strip_nulls(json_build_object(
			'specversion', '1.0', 'id', event.event_id, 'type', event.event_type,
			'source', options ->> 'source', 'subject', event.stream,
			'time', to_char(event.occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
			'version', event.version::text, 'position', event.position::text,
			'schemaversion', event.schema_version::text,
			'correlationid', event.metadata ->> 'correlation_id',
			'causationid', event.metadata ->> 'causation_id',
			'userid', event.metadata ->> 'user_id', 'tenantid', event.metadata ->> 'tenant_id',
			'traceparent', event.metadata ->> 'traceparent')));
$to_cloudevent$;
COMMENT ON FUNCTION event_store._to_cloudevent(event_store.event, jsonb) IS
'An event as streamd publishes it: {"position", "stream", "category", "type", "id", "body", "attributes": those of the CloudEvent, all of them texts}.';

CREATE FUNCTION event_store.read_sink(name text, after_position bigint, max_events int DEFAULT 500,
	incarnation text DEFAULT NULL, OUT upto bigint, OUT head bigint, OUT count int,
	OUT events text, OUT read_from text)
RETURNS SETOF record LANGUAGE plpgsql VOLATILE ROWS 1
SET search_path = pg_catalog, pg_temp
AS $read_sink$
DECLARE
	s CONSTANT event_store.sink := event_store._find_sink(name);
BEGIN
	RETURN QUERY SELECT r.upto, r.head, r.count,
		(SELECT coalesce(json_agg(event_store._to_cloudevent(e, s.options) ORDER BY e.position), '[]')
			FROM unnest(r.events) e)::text, r.read_from
	FROM event_store.read_durable(after_position, max_events, s.category, s.event_types,
		incarnation) r;
END
$read_sink$;
COMMENT ON FUNCTION event_store.read_sink(text, bigint, int, text) IS
'For streamd: what a sink gets after a position, as read_durable(); events: a JSON array, see the file. ST013: no such sink. ST021 as read_durable().';

CREATE FUNCTION event_store.note_sink(name text, generation bigint, "position" bigint,
	lost boolean DEFAULT false, error text DEFAULT NULL)
RETURNS boolean LANGUAGE c VOLATILE
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'event_store_note_sink';
COMMENT ON FUNCTION event_store.note_sink(text, bigint, bigint, boolean, text) IS
'For streamd: how far a sink is (NULL: not known), and what keeps it from getting more. lost: it is told nothing more until reset_sink(). False if it is another one by now, or lost already.';

-- ---------------------------------------------------------------- views
CREATE VIEW event_store.sinks AS
SELECT s.name, s.kind, s.options ->> 'broker' AS broker,
	coalesce(s.options ->> 'topic', s.options ->> 'stream') AS target, s.category, s.event_types,
	CASE WHEN s.lost THEN 'lost' WHEN s.paused THEN 'paused' WHEN s.error IS NOT NULL THEN 'failing'
		ELSE 'running' END AS state,
	coalesce(s."position", s.starts_after) AS "position",
	CASE WHEN n.occurred_at IS NOT NULL
		THEN greatest(pg_catalog.clock_timestamp() - n.occurred_at, '0') END AS lag,
	s.heard_at, s.error, s.error_at, s.options, s.created_at
FROM event_store.sink s
LEFT JOIN LATERAL (SELECT e.occurred_at FROM event_store.read_all(
	coalesce(s."position", s.starts_after), 1, s.category, s.event_types) e) n ON true;
COMMENT ON VIEW event_store.sinks IS
'Sinks. state: running, paused, failing (error says why, since error_at; it is tried again), lost (this database and the sink do not fit each other: reset_sink()). position: up to where streamd has said that events are there. lag: age of the first event beyond; NULL when there is none. heard_at: when streamd has last said so.';

CREATE VIEW event_store._seen_sink AS
SELECT s.name, s.kind, s.options ->> 'broker' AS broker, s.error,
	CASE WHEN s.lost THEN 'lost' WHEN s.paused THEN 'paused'
		WHEN coalesce(s.heard_at, s.created_at) < pg_catalog.clock_timestamp() - interval '5 min' THEN 'unfed'
		WHEN s.error IS NOT NULL THEN 'failing' ELSE 'running' END AS state,
	coalesce(s.error_at, s.heard_at, s.created_at) AS since,
	s.lost, s.paused, coalesce(s.heard_at, s.created_at) AS heard_at
FROM event_store.sink s;
COMMENT ON VIEW event_store._seen_sink IS 'States of sinks, for the lists; unfed: streamd was not heard of for 5 minutes.';
