/*
 * actions.c
 *		What can be done: the table of actions and their SQL.
 *
 * $1 is the body of the request, a JSON object.  What comes back is what the
 * database says of each message or thing it was done to.
 */
#include "console/api.h"

#define ROWS(query) \
	"SELECT coalesce(json_agg(r), '[]')::text FROM (" query ") r"
#define DONE(call) "SELECT json_build_object('result', " call ")::text"
/* of a function that returns nothing */
#define VOID(call) "SELECT json_build_object('result', pg_catalog.length(" call "::text))::text"
#define TEXT(key) "($1::jsonb ->> '" key "')"
#define JSON(key) "($1::jsonb -> '" key "')"
#define MAX(usual) "coalesce(" TEXT("max") "::int, " #usual ")"
#define FILTER "coalesce(" JSON("filter") ", '{}')"

#define ACTION(name, sql) \
	{ \
		name, "body", true, true, sql \
	}

const Resource api_actions[] = {
	ACTION("redrive", ROWS("SELECT * FROM message_bus.redrive_matching(" FILTER ", "
						   TEXT("per_second") "::int, " TEXT("after") ", " MAX(100) ")")),
	ACTION("redrive-one", DONE("message_bus.redrive(" TEXT("message_id") "::uuid, "
							   JSON("body") ", " TEXT("endpoint") ")")),
	ACTION("discard", ROWS("SELECT * FROM message_bus.discard_matching(" FILTER ", "
						   TEXT("after") ", " MAX(100) ")")),
	ACTION("cancel", ROWS("SELECT * FROM message_bus.cancel(" TEXT("message_id") "::uuid, "
						  TEXT("endpoint") ", " TEXT("reason") ")")),
	ACTION("retry-now", DONE("message_bus.retry_now(" TEXT("endpoint") ", "
							 TEXT("message_id") "::uuid, " MAX(1000) ")")),
	ACTION("purge", ROWS("SELECT * FROM message_bus.purge(" TEXT("endpoint") ", " FILTER ", "
						 TEXT("after") ", " MAX(1000) ")")),
	ACTION("pause-endpoint", VOID("message_bus.pause(" TEXT("endpoint") ")")),
	ACTION("resume-endpoint", VOID("message_bus.resume(" TEXT("endpoint") ")")),
	ACTION("reset-breaker", DONE("message_bus.reset_breaker(" TEXT("endpoint") ", "
								 TEXT("message_type") ")")),
	ACTION("send", DONE("message_bus.send(" TEXT("endpoint") ", " TEXT("message_type") ", "
						JSON("body") ", partition_key => " TEXT("partition_key") ")")),
	ACTION("pause-projection", VOID("event_store.pause_projection(" TEXT("name") ")")),
	ACTION("resume-projection", VOID("event_store.resume_projection(" TEXT("name") ")")),
	ACTION("skip-event", VOID("event_store.skip_event(" TEXT("name") ", "
							  TEXT("position") "::bigint)")),
	ACTION("rebuild-projection", VOID("event_store.rebuild_projection(" TEXT("name") ")")),
	ACTION("reset-subscription", VOID("event_store.reset_subscription(" TEXT("name") ", "
									  TEXT("position") "::bigint)")),
	ACTION("replay-parked", DONE("event_store.replay_parked(" TEXT("name") ", "
								 TEXT("position") "::bigint)")),
	ACTION("pause-link", VOID("message_bus.pause_link(" TEXT("name") ")")),
	ACTION("resume-link", VOID("message_bus.resume_link(" TEXT("name") ")")),
	ACTION("pause-bridge", VOID("message_bus.pause_bridge(" TEXT("name") ")")),
	ACTION("resume-bridge", VOID("message_bus.resume_bridge(" TEXT("name") ")")),
	ACTION("pause-sink", VOID("event_store.pause_sink(" TEXT("name") ")")),
	ACTION("resume-sink", VOID("event_store.resume_sink(" TEXT("name") ")")),
	/* since: of its transaction, lest another one has got its number */
	ACTION("end-session", ROWS("SELECT CASE WHEN pg_catalog.pg_terminate_backend(s.pid, 5000) "
							   "THEN 'ended' ELSE 'still there' END AS result "
							   "FROM ecommerce._sessions() s WHERE s.kind = 'client backend' "
							   "AND s.pid = " TEXT("pid") "::int "
							   "AND s.xact_start = " TEXT("since") "::timestamptz")),
	ACTION("retry-saga", DONE("saga.retry(" TEXT("saga") ", " TEXT("id") "::uuid)")),
	ACTION("cancel-saga", DONE("saga.cancel(" TEXT("saga") ", " TEXT("id") "::uuid, "
							   TEXT("reason") ")")),
	ACTION("goto-saga", DONE("saga.goto(" TEXT("saga") ", " TEXT("id") "::uuid, " TEXT("state") ", "
							 TEXT("reason") ")")),
	ACTION("migrate-saga", DONE("saga.migrate(" TEXT("saga") ", " TEXT("id") "::uuid, "
								TEXT("version") "::int)")),
	ACTION("set-patience", VOID("saga.set_patience(" TEXT("saga") ", " TEXT("state") ", "
								TEXT("longest") "::interval)")),
	{NULL}
};
