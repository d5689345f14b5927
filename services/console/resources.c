/*
 * resources.c
 *		What can be asked for: the table of resources and their SQL.
 *
 * Each is one call of the functions for operators, their rows as a JSON array.
 * Long values are cut in lists; what shows one thing gives them whole.
 */
#include "console/api.h"

/* All rows of a query. */
#define ROWS(query) \
	"SELECT coalesce(json_agg(r), '[]')::text FROM (" query ") r"
/* Its first row; none is 404. */
#define ROW(query) "SELECT to_json(r)::text FROM (" query ") r LIMIT 1"
/* A value that may be long, for a list. */
#define SHORT(value) "pg_catalog.left((" value ")::text, 400)"
#define IDS(list) "coalesce(" list "::uuid[], ARRAY[$1::uuid])"
#define PAGE "query:after query:max"

#define EVENT \
	"position, stream, version, event_id, event_type, schema_version, " SHORT("data") " AS data, " \
	"occurred_at"
/* of sagas, as saga.instances has them: what one holds is NULL to who may not see it */
#define INSTANCES \
	"i.saga, i.correlation_id, i.definition_version, i.current_state, i.version, i.created_at, " \
	"i.updated_at, pg_catalog.clock_timestamp() - i.state_since AS age_in_state, " \
	"t.timer AS next_timer, t.due_at AS next_timer_at FROM saga._seen_instance i " \
	"LEFT JOIN LATERAL (SELECT t.timer, t.due_at FROM saga.timers t WHERE t.saga = i.saga " \
	"AND t.correlation_id = i.correlation_id ORDER BY t.due_at LIMIT 1) t ON true "
#define DEAD \
	"message_id, endpoint, message_type, reason, error_code, " \
	"pg_catalog.left(error, 2000) AS error, attempts, first_failed_at, last_failed_at, sent_at, " \
	"correlation_id, source, key"

const Resource api_resources[] = {
	{"overview", "", false, false,
		"SELECT json_build_object('overview', (SELECT to_json(o) FROM "
		"ecommerce.overview(p.problems) o), 'problems', pg_catalog.jsonb_path_query_array("
		"p.problems, '$[0 to 199]'))::text FROM " API_PROBLEMS
	},
	{"find", "query:id", false, false, ROWS("SELECT * FROM ecommerce.find($1) LIMIT 100")},
	/* ids: all that are known of it, where it goes through several databases */
	{"story", "query:id query:max query:ids", false, false,
		"SELECT json_build_object('correlation_id', $1::uuid, 'related', "
		"(SELECT json_agg(DISTINCT c) FROM unnest(" IDS("$3") ") i CROSS JOIN LATERAL "
		"ecommerce._related(i) t CROSS JOIN LATERAL unnest(t.correlations) c), 'entries', "
		"(SELECT coalesce(json_agg(r), '[]') FROM (SELECT at, kind, id, lane, name, state, "
		"caused_by, "
		"summary, " SHORT("data") " AS data, hangs, what_to_type "
		"FROM ecommerce.story_of(" IDS("$3") ", coalesce($2::int, 500))) r), "
		"'sagas', (SELECT coalesce(json_agg(s), '[]') FROM (SELECT " INSTANCES
		"WHERE i.correlation_id = $1::uuid) s))::text"
	},
	{"story-entry", "query:id query:kind query:entry query:max query:ids", false, false,
		ROW("SELECT * FROM ecommerce.story_of(" IDS("$5") ", coalesce($4::int, 500)) s "
			"WHERE s.kind = $2 AND s.id = $3")
	},

	{"categories", PAGE, false, false,
		ROWS("SELECT * FROM event_store.categories($1, coalesce($2::int, 100))")
	},
	{"event-types", "query:category", false, false,
		ROWS("SELECT * FROM event_store.event_types($1)")
	},
	{"streams", "query:category query:prefix " PAGE, false, false,
		ROWS("SELECT * FROM event_store.list_streams($1, $2, $3, coalesce($4::int, 50))")
	},
	{"newest", "query:category query:type " PAGE, false, false,
		ROWS("SELECT " EVENT ", correlation_id, key FROM event_store.newest($1, "
			 "CASE WHEN $2::text <> '' THEN ARRAY[$2] END, $3, coalesce($4::int, 50))")
	},
	{"stream", "query:stream query:after query:max", false, false,
		ROWS("SELECT " EVENT ", event_store.correlation_of(metadata) AS correlation_id, "
			 "version::text AS key FROM event_store.read_stream($1, $2::bigint - 1, "
			 "coalesce($3::bigint, 50), true)")
	},
	{"event", "query:id", false, false,
		ROW("SELECT e.*, event_store.correlation_of(e.metadata) AS correlation_id, "
			"(SELECT to_json(s) FROM event_store.read_stored(e.position - 1, 1) s "
			"WHERE s.event_id = e.event_id) AS stored "
			"FROM event_store.get_event($1::uuid) e WHERE e.event_id IS NOT NULL")
	},
	{"state", "query:stream query:version", false, false,
		ROW("SELECT * FROM event_store.load($1, $2::bigint)")
	},
	{"rates", "query:minutes query:step", false, false,
		ROWS("SELECT * FROM event_store.rates(pg_catalog.now() - $1::int * '1 minute'::interval, "
			 "$2::int * '1 second'::interval)")
	},
	/* all of them by name, or those that are furthest behind; looked at are those of the page */
	{"subscriptions", "query:behind " PAGE, false, false,
		ROWS("SELECT l.*, l.name AS key FROM event_store._listed_subscription l "
			 "WHERE l.name = ANY (CASE WHEN $1::text IS NULL THEN ARRAY(SELECT s.name "
			 "FROM event_store._seen_subscription s WHERE $2::text IS NULL OR s.name > $2 "
			 "ORDER BY s.name LIMIT least(coalesce($3::int, 50), 500)) "
			 "ELSE ARRAY(SELECT b.name FROM event_store._behind() b WHERE b.oldest IS NOT NULL "
			 "ORDER BY b.oldest LIMIT 50) END) "
			 "ORDER BY CASE WHEN $1::text IS NOT NULL THEN l.lag END DESC, l.name, l.partition "
			 "LIMIT 2000")
	},
	{"parked", PAGE, false, false,
		ROWS("SELECT subscription, position, stream, event_type, event_id, "
			 "pg_catalog.left(error, 2000) AS error, attempts, parked_at, replay, "
			 "pg_catalog.json_build_array(subscription, position)::text AS key "
			 "FROM event_store.parked_events p WHERE $1::text IS NULL OR (p.subscription, "
			 "p.position) > ($1::jsonb ->> 0, ($1::jsonb ->> 1)::bigint) "
			 "ORDER BY subscription, position LIMIT least(coalesce($2::int, 50), 500)")
	},
	{"projections", "", false, false,
		ROWS("SELECT p.*, r.state AS rebuild, r.percent AS rebuilt, r.last_error AS rebuild_error "
			 "FROM event_store.projections p LEFT JOIN event_store.rebuilds r ON r.name = p.name "
			 "ORDER BY p.state = 'running', p.lag_positions DESC, p.name LIMIT 500")
	},
	{"projection-event", "query:position", false, false,
		ROW("SELECT * FROM event_store.read_stored($1::bigint - 1, 1) s WHERE s.position = "
			 "$1::bigint")
	},

	{"endpoints", "query:endpoint " PAGE, false, false,
		ROWS("SELECT e.*, (SELECT json_agg(json_build_object('message_type', b.message_type, "
			 "'state', "
			 "b.state, 'failures', b.failures, 'attempts', b.attempts, 'opened_at', b.opened_at, "
			 "'retry_at', b.retry_at)) FROM message_bus.circuit_breakers b "
			 "WHERE b.endpoint = e.name AND b.state <> 'closed') AS breakers, e.name AS key "
			 "FROM message_bus.endpoints e WHERE e.name = ANY (ARRAY(SELECT n.name "
			 "FROM message_bus._seen_endpoint n WHERE ($1::text IS NULL OR n.name = $1) "
			 "AND ($2::text IS NULL OR n.name > $2) ORDER BY n.name "
			 "LIMIT least(coalesce($3::int, 50), 100))) ORDER BY e.name")
	},
	{"endpoint", "query:endpoint", false, false,
		ROW("SELECT e.name, e.lanes, e.retry, e.breaker, e.timeout, e.max_depth, e.paused, "
			 "e.created_at, "
			"e.strict_order, (SELECT json_agg(r.message_type ORDER BY r.message_type) "
			"FROM message_bus.route r WHERE r.endpoint_id = e.endpoint_id) AS subscribed "
			"FROM message_bus.endpoint e WHERE e.name = $1")
	},
	{"consumers", "query:endpoint", false, false,
		ROWS("SELECT * FROM message_bus.consumers c WHERE $1::text IS NULL OR c.endpoint = $1 "
			 "ORDER BY c.endpoint, c.lane LIMIT 500")
	},
	{"peek", "query:endpoint query:state " PAGE, false, false,
		ROWS("SELECT message_id, message_type, state, lane, position, sent_at, due_at, expires_at, "
			 "attempt, correlation_id, partition_key, source, error_code, "
			 "pg_catalog.left(error, 2000) AS error, leased_until, holder_pid, "
			 SHORT("body") " AS body, key "
			 "FROM message_bus.peek($1, nullif($2, ''), $3, coalesce($4::int, 50))")
	},

	{"dead-groups", "query:endpoint " PAGE, false, false,
		ROWS("SELECT endpoint, message_type, reason, error_code, count, count_capped, oldest_at, "
			 "newest_at, newest_message_id, pg_catalog.left(newest_error, 2000) AS newest_error, key "
			 "FROM message_bus.dead_groups($1, $2, coalesce($3::int, 50))")
	},
	{"dead", "query:filter " PAGE, false, false,
		ROWS("SELECT " DEAD " FROM message_bus.list_dead(coalesce($1::jsonb, '{}'), $2, "
			 "coalesce($3::int, 50))")
	},
	{"dead-letter", "query:id query:endpoint", false, false,
		ROW("SELECT d.* FROM message_bus.list_dead(jsonb_strip_nulls(jsonb_build_object("
			"'message_ids', jsonb_build_array($1::text), 'endpoint', $2::text)), NULL, 1) d")
	},
	/* whether a body keeps the contract of its type, by what it raises */
	{"check", "body", false, false,
		"SELECT json_build_object('result', pg_catalog.length(event_store.check_data("
		"$1::jsonb ->> 'message_type', $1::jsonb -> 'body', "
		"($1::jsonb ->> 'schema_version')::int)::text))::text"
	},
	{"dead-count", "query:filter", false, false,
		ROW("SELECT * FROM message_bus.count_dead(coalesce($1::jsonb, '{}'))")
	},

	{"sagas", "", false, false,
		ROWS("SELECT * FROM saga.overview() ORDER BY saga, definition_version DESC, state")
	},
	{"saga-instances", "query:saga query:state " PAGE, false, false,
		ROWS("SELECT saga, correlation_id, definition_version, current_state, version, created_at, "
			 "updated_at, state_since, age_in_state, next_timer, next_timer_at, stuck_reason, key "
			 "FROM saga.list($1, nullif($2, ''), $3, coalesce($4::int, 50))")
	},
	{"stuck", "", false, false, ROWS("SELECT * FROM saga.stuck ORDER BY since LIMIT 200")},
	{"saga-instance", "query:saga query:id", false, false,
		"SELECT json_build_object('instance', (SELECT to_json(s) FROM (SELECT i.data, " INSTANCES
		"WHERE i.saga = $1 AND i.correlation_id = $2::uuid) s), 'history', "
		"(SELECT coalesce(json_agg(h ORDER BY h.number, h.version), '[]') FROM "
		"(SELECT h.number, h.version, h.from_state, h.to_state, h.event, h.message_id, h.actions, "
		"h.at, h.actor, h.reason FROM saga._seen_history h WHERE h.number IN (SELECT n.number "
		"FROM saga._seen_number n WHERE n.saga = $1 AND n.correlation_id = $2::uuid) "
		"ORDER BY h.number DESC, h.version DESC LIMIT 200) h), 'timers', "
		"(SELECT coalesce(json_agg(t ORDER BY t.due_at), '[]') FROM saga.timers t "
		"WHERE t.saga = $1 AND t.correlation_id = $2::uuid), 'parked', "
		"(SELECT coalesce(json_agg(p), '[]') FROM (SELECT * FROM saga.parked "
		"WHERE saga = $1 AND correlation_id = $2::uuid ORDER BY parked_at LIMIT 50) p))::text"
	},
	{"saga-diagram", "query:saga", false, false,
		ROW("SELECT d.name AS saga, d.version, d.definition, saga.diagram(d.name) AS diagram, "
			"(SELECT json_agg(v.version ORDER BY v.version DESC) FROM saga.definitions v "
			"WHERE v.name = d.name) AS versions "
			"FROM saga.definitions d WHERE d.name = $1 AND d.is_current")
	},
	{"saga-problems", "query:saga", false, false, ROWS("SELECT * FROM saga.verify($1)")},

	/* who sends what: what was sent lately, and what definitions and routes say */
	{"flow", "", false, false,
		"SELECT json_build_object('sent', (SELECT coalesce(json_agg(f), '[]') FROM "
		"(SELECT source, consumes, endpoint, message_type, messages, per_s, newest_at, dead, "
		"dead_capped, pg_catalog.left(newest_error, 400) AS newest_error "
		"FROM message_bus.flow() LIMIT 500) f), 'routes', (SELECT "
		"coalesce(json_agg(json_build_object('message_type', "
		"r.message_type, 'endpoint', r.name)), '[]') FROM (SELECT r.message_type, e.name FROM "
		"message_bus.route r JOIN message_bus.endpoint e "
		"ON e.endpoint_id = r.endpoint_id ORDER BY 2, 1 LIMIT 500) r), 'sends', (SELECT coalesce(json_agg(s), '[]') FROM "
		"(SELECT d.name AS saga, c.value ->> 'endpoint' AS endpoint, c.value ->> 'type' AS "
		"message_type "
		"FROM saga.definitions d CROSS JOIN jsonb_each(d.definition -> 'commands') c "
		"WHERE d.is_current AND c.value ? 'endpoint') s), "
		"'sagas', (SELECT coalesce(json_agg(json_build_object('saga', f.name, 'endpoint', "
		"f.endpoint)), "
		"'[]') FROM saga.definition f JOIN saga.definitions c ON c.name = f.name "
		"AND c.version = f.version AND c.is_current), 'endpoints', "
		"(SELECT coalesce(json_agg(e ORDER BY e.name), '[]') FROM (SELECT s.name, s.depth, "
		"s.acked_per_s, d.dead, d.capped FROM message_bus._state s "
		"LEFT JOIN message_bus._open_dead d ON d.endpoint_id = s.endpoint_id "
		"ORDER BY d.dead IS NULL, s.acked_per_s + s.sent_per_s DESC, s.depth DESC, s.name "
		"LIMIT 60) e), 'all', (SELECT count(*) FROM message_bus._seen_endpoint))::text"
	},
	{"scenario", "query:saga", false, false,
		"SELECT CASE WHEN $1 = 'order' THEN ecommerce.order_saga_scenario() ELSE '{}' END::text"
	},
	{"simulate", "body", false, true,
		"SELECT saga.simulate($1::jsonb ->> 'saga', $1::jsonb -> 'scenario', "
		"coalesce(($1::jsonb ->> 'schedules')::int, 1000), "
		"coalesce(($1::jsonb ->> 'seed')::bigint, 0))::text"
	},

	{"shop-orders", "query:status " PAGE, false, false,
		ROWS("SELECT order_id, customer_id, status, total_amount, item_count, confirmation_number, "
			 "cancel_reason, created_at, updated_at, position::text AS key "
			 "FROM ecommerce_order.order_summary WHERE ($1::text IS NULL OR status = $1) "
			 "AND ($2::text IS NULL OR position < $2::bigint) ORDER BY position DESC "
			 "LIMIT least(coalesce($3::int, 50), 500)")
	},
	/* by what is counted anyway, and by the newest: it costs the same with a million orders */
	{"shop-totals", "", false, false,
		"SELECT json_build_object('currency', ecommerce.currency(), 'states', (SELECT "
		"coalesce(json_agg(s), '[]') FROM (SELECT state, kind, sum(instances) AS orders, "
		"bool_or(estimated) AS estimated, max(longest) AS longest FROM saga.overview() "
		"WHERE saga = 'order' GROUP BY state, kind ORDER BY kind DESC, 3 DESC) s), "
		"'newest', (SELECT coalesce(json_agg(n), '[]') FROM (SELECT status, count(*) AS orders, "
		"sum(total_amount) AS amount, min(created_at) AS since FROM (SELECT status, "
		"total_amount, created_at FROM ecommerce_order.order_summary ORDER BY position DESC "
		"LIMIT 1000) o GROUP BY status ORDER BY 2 DESC) n), "
		"'stock', (SELECT to_json(p) FROM (SELECT count(*) AS articles, count(*) = 2000 AS "
		"capped, count(*) FILTER (WHERE on_hand <= reserved) AS sold_out, "
		"sum(on_hand) AS on_hand, sum(reserved) AS reserved FROM (SELECT on_hand, reserved "
		"FROM ecommerce_inventory.product WHERE kind = 'goods' ORDER BY position DESC LIMIT 2000"
		") t) p))::text"
	},
	{"shop-stock", PAGE, false, false,
		ROWS("SELECT product_id, sku, name, on_hand, reserved, on_hand - reserved AS available, "
			 "kind, "
			 "amount, currency, updated_at, position::text AS key FROM ecommerce_inventory.product "
			 "WHERE $1::text IS NULL OR position > $1::bigint ORDER BY position "
			 "LIMIT least(coalesce($2::int, 50), 500)")
	},
	{"shop-order", "query:id", false, false,
		"SELECT json_build_object('order', (SELECT to_json(o) FROM ecommerce_order.order_summary o "
		"WHERE o.order_id = $1::uuid), 'reservations', (SELECT coalesce(json_agg(r), '[]') "
		"FROM ecommerce_inventory.reservation r WHERE r.order_id = $1::uuid), 'payments', "
		"(SELECT coalesce(json_agg(p), '[]') FROM (SELECT payment_id, status, amount, currency, "
		"card_type, last4_digits, transaction_id, refund_id FROM ecommerce_payment.payment "
		"WHERE order_id = $1::uuid) p), 'shipments', (SELECT coalesce(json_agg(s), '[]') FROM "
		"(SELECT shipment_id, status, items, carrier, tracking_number, estimated_delivery, "
		"delivered_at, error_code FROM ecommerce_shipping.shipment WHERE order_id = $1::uuid) s), "
		"'notifications', (SELECT coalesce(json_agg(n), '[]') FROM (SELECT template, status, "
		"reason, "
		"sent_at, attempts FROM ecommerce_notification.notification WHERE order_id = $1::uuid) "
		"n))::text"
	},

	/* In three, as a lock on a table of ours must not hide who has it. */
	{"health", "", false, false,
		"SELECT json_build_object('appenders', (SELECT coalesce(json_agg(a), '[]') FROM "
		"(SELECT * FROM event_store.appenders LIMIT 100) a), 'units', "
		"(SELECT coalesce(json_agg(u), '[]') FROM ecommerce.units u), 'disks', "
		"(SELECT coalesce(json_agg(d), '[]') FROM ecommerce._disks() d), 'sessions', "
		"(SELECT coalesce(json_agg(x), '[]') FROM (SELECT s.pid, a.usename, a.application_name, "
		"s.state, s.state_since, s.xact_start, CASE WHEN s.wait_type = 'Lock' THEN "
		"pg_catalog.pg_blocking_pids(s.pid) END AS blocked_by, pg_catalog.left(a.query, 400) "
		"AS query FROM ecommerce._sessions() s LEFT JOIN pg_catalog.pg_stat_activity a "
		"ON a.pid = s.pid WHERE s.kind = 'client backend' AND s.database = (SELECT d.oid FROM "
		"pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()) "
		"AND s.xact_start < pg_catalog.clock_timestamp() - '10 s'::interval "
		"ORDER BY s.xact_start LIMIT 50) x), 'settings', "
		"(SELECT coalesce(json_agg(s), '[]') FROM (SELECT name, setting, unit, source, short_desc "
		"FROM pg_catalog.pg_settings WHERE name ~ '^(ecommerce|event_store|message_bus|saga)\\.' "
		"ORDER BY name) s))::text"
	},
	{"carriers", "", false, false,
		ROWS("SELECT kind, name, other, state, heard_at, pg_catalog.left(error, 400) AS error "
			 "FROM ecommerce._carriers ORDER BY state = 'running', kind, name LIMIT 200")
	},
	{"sizes", "", false, false,
		"SELECT json_build_object('ring', (SELECT coalesce(json_agg(g), '[]') "
		"FROM (SELECT * FROM message_bus.ring ORDER BY segment) g), 'tables', "
		"(SELECT coalesce(json_agg(t), '[]') FROM (SELECT "
		"s.schemaname || '.' || s.relname AS name, pg_catalog.pg_total_relation_size(s.relid) "
		"AS bytes, "
		"c.reltuples::bigint AS rows_estimate, s.n_dead_tup AS dead_rows, "
		"greatest(s.last_vacuum, s.last_autovacuum) AS vacuumed_at FROM "
		"pg_catalog.pg_stat_all_tables s JOIN pg_catalog.pg_class c ON c.oid = s.relid "
		"WHERE s.schemaname IN ('ecommerce', 'event_store', 'message_bus', 'saga') "
		"OR s.schemaname LIKE 'ecommerce\\_%' ORDER BY 2 DESC LIMIT 25) t))::text"
	},
	{"verify-event-store", "", false, true, ROWS("SELECT * FROM event_store.verify()")},
	{"verify-message-bus", "", false, true, ROWS("SELECT * FROM message_bus.verify()")},
	{"verify-sagas", "", false, true, ROWS("SELECT * FROM saga.verify()")},
	{NULL}
};
