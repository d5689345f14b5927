/*
 * api.c
 *		Every SQL statement that the library sends, and what SQLSTATEs mean.
 *
 * Function names come from the tables of the daemons, never from a request, so
 * they may be put into statements as they are; an endpoint comes from the
 * configuration and is quoted.
 */
#include "lib/api.h"

#include <stdlib.h>
#include <string.h>

#include "lib/text.h"

/* The settings of a session of our own, or of one transaction in a shared one. */
#define SETTINGS(local) \
	"SELECT pg_catalog.set_config('statement_timeout', $1, " local "), " \
	"pg_catalog.set_config('idle_in_transaction_session_timeout', $2, " local "), " \
	"pg_catalog.set_config('ecommerce.source', $3, " local "), " \
	"pg_catalog.set_config('search_path', '', " local "), " \
	"pg_catalog.set_config('timezone', 'UTC', " local "), " \
	"pg_catalog.set_config('jit', 'off', " local ")"
/* Of the name of a channel. */
#define CHANNEL_MAX 63
#define ENDPOINT_TIMEOUT(local) \
	"SELECT pg_catalog.set_config('statement_timeout', least(pg_catalog.ceil(" \
	"EXTRACT(epoch FROM e.timeout) * 1000)::bigint, $2::bigint)::text, " local ") " \
	"FROM message_bus.endpoint e WHERE e.name = $1"

const PgStatement api_backend = {"SELECT pg_catalog.pg_backend_pid()", 0};
const PgStatement api_session = {SETTINGS("false"), 3};
const PgStatement api_transaction = {SETTINGS("true"), 3};
const PgStatement api_session_timeout = {ENDPOINT_TIMEOUT("false"), 2};
const PgStatement api_transaction_timeout = {ENDPOINT_TIMEOUT("true"), 2};
const PgStatement api_begin = {"BEGIN", 0};
const PgStatement api_commit = {"COMMIT", 0};
const PgStatement api_rollback = {"ROLLBACK", 0};
const PgStatement api_savepoint = {"SAVEPOINT message", 0};
const PgStatement api_release = {"RELEASE SAVEPOINT message", 0};
const PgStatement api_rollback_to = {"ROLLBACK TO SAVEPOINT message", 0};
const PgStatement api_set_context = {
	"SELECT ecommerce.set_context(correlation_id => $1::uuid, user_id => $2::text, "
	"tenant_id => $3::text, traceparent => $4::text)", 4
};
const PgStatement api_receive = {
	"SELECT delivery_id, message_type, body::text, attempt, correlation_id, traceparent, "
	"user_id, tenant_id, "
	"(extract(epoch FROM pg_catalog.clock_timestamp() - coalesce(deliver_at, sent_at)) * 1000)::bigint "
	"FROM message_bus.receive($1::text, $2::int)", 2
};
/* Within half of what one statement may take, which is the endpoint's timeout. */
const PgStatement api_wait_message = {
	"CALL message_bus.wait($1::text, least($2::interval, "
	"pg_catalog.current_setting('statement_timeout')::interval / 2))", 2
};
const PgStatement api_handle = {"SELECT message_bus.handle($1::bigint)", 1};
const PgStatement api_ack = {"SELECT message_bus.ack(VARIADIC $1::bigint[])", 1};
const PgStatement api_fail = {
	"SELECT message_bus.fail($1::bigint, $2::text, $3::text, $4::boolean)", 4
};
const PgStatement api_snooze = {
	"SELECT message_bus.snooze($1::bigint, $2::int * interval '1 millisecond', $3::text)", 3
};
const PgStatement api_skip = {"SELECT message_bus.skip($1::bigint, $2::text)", 2};
const PgStatement api_send = {
	"SELECT message_bus.send($1::text, $2::text, $3::jsonb, partition_key => $4::text, "
	"deliver_at => $5::timestamptz)", 5
};
const PgStatement api_publish = {
	"SELECT message_bus.publish($1::text, $2::jsonb, partition_key => $3::text, "
	"deliver_at => $4::timestamptz)", 4
};
const PgStatement api_wait = {
	"CALL event_store.wait($1::bigint, $2::interval, $3::text)", 3
};
const PgStatement api_redrive = {"SELECT message_bus.redrive($1::uuid, $2::jsonb)", 2};
const PgStatement api_authenticate = {
	"SELECT user_id, scope, customer_id, tenant_id "
	"FROM ecommerce_access.authenticate($1::bytea)", 1
};
const PgStatement api_bus_state = {
	"SELECT paused, depth, dead FROM message_bus.endpoints WHERE name = $1::text", 1
};

const PgStatement api_older_sql = {
	"SELECT pg_catalog.format('%s is older than the daemon: type ALTER EXTENSION %s UPDATE', "
	"pg_catalog.concat_ws(' ', x.extname, x.extversion), x.extname) "
	"FROM pg_catalog.pg_extension x WHERE x.extname IN ('ecommerce', $1::text) "
	"AND pg_catalog.string_to_array(x.extversion, '.')::int[] "
	"< pg_catalog.string_to_array($2::text, '.')::int[] ORDER BY x.extname LIMIT 1", 2
};

static PgStatement *make_statement(Text *sql, int nparameters);
static void add_quoted(Text *sql, const char *name);
static void add_parameters(Text *sql, int n);

/* LISTEN to new events of a category, NULL: of all. */
PgStatement *
api_listen_category(const char *category)
{
	Text		sql = {0};

	text_add(&sql, "LISTEN \"event_store");
	/* One of a longer name has no channel of its own, see event_store.channel(). */
	if (category && strlen("event_store.") + strlen(category) <= CHANNEL_MAX)
	{
		text_add(&sql, ".");
		add_quoted(&sql, category);
	}
	text_add(&sql, "\"");
	return make_statement(&sql, 0);
}

static void
add_quoted(Text *sql, const char *name)
{
	for (const char *c = name; *c; c++)
		text_add_n(sql, *c == '"' ? "\"\"" : c, *c == '"' ? 2 : 1);
}

/* fn(body jsonb) RETURNS void: handles one message. */
PgStatement *
api_message_function(const char *function)
{
	Text		sql = {0};

	text_format(&sql, "SELECT %s($1::jsonb)", function);
	return make_statement(&sql, 1);
}

/* fn(...) RETURNS (status int, body jsonb, etag text, location text): answers one request. */
PgStatement *
api_http_function(const char *function, int nparameters)
{
	Text		sql = {0};

	text_format(&sql, "SELECT status, body::text, etag, location FROM %s", function);
	add_parameters(&sql, nparameters);
	return make_statement(&sql, nparameters);
}

/*
 * Idempotency-Key, function, its arguments as a JSON array, which of them is the body or
 * null: answers a request once.  It lies beside the function.
 */
PgStatement *
api_once_function(const char *function)
{
	Text		sql = {0};

	text_add(&sql, "SELECT status, body::text, etag, location FROM ");
	text_add_n(&sql, function, strcspn(function, "."));
	text_add(&sql, ".once($1::text, $2::regproc, $3::jsonb, $4::int)");
	return make_statement(&sql, 4);
}

/* fn(max_count int, lease interval): takes outside work. */
PgStatement *
api_claim_function(const char *function)
{
	Text		sql = {0};

	text_format(&sql, "SELECT work_id, fence, operation, request::text, correlation_id, "
					  "traceparent FROM %s($1::int, $2::interval)",
				function);
	return make_statement(&sql, 2);
}

/* fn(work_id uuid, fence bigint, outcome jsonb) RETURNS boolean: records how it went. */
PgStatement *
api_settle_function(const char *function)
{
	Text		sql = {0};

	text_format(&sql, "SELECT %s($1::uuid, $2::bigint, $3::jsonb)", function);
	return make_statement(&sql, 3);
}

/* fn() RETURNS int: something to be done from time to time; how much was done. */
PgStatement *
api_duty_function(const char *function)
{
	Text		sql = {0};

	text_format(&sql, "SELECT %s()", function);
	return make_statement(&sql, 0);
}

/* fn(...) RETURNS jsonb */
PgStatement *
api_json_function(const char *function, int nparameters)
{
	Text		sql = {0};

	text_format(&sql, "SELECT %s", function);
	add_parameters(&sql, nparameters);
	text_add(&sql, "::text");
	return make_statement(&sql, nparameters);
}

void
api_free(PgStatement *statement)
{
	if (statement == NULL)
		return;
	free((char *) statement->sql);
	free(statement);
}

/*
 * Errors that lie in the message itself come again however often it is tried:
 * data exceptions, broken constraints, refused contracts, raised refusals.
 */
bool
api_retryable(const char *sqlstate)
{
	static const char *const final[] = {"22", "23", "ST004", "HT"};

	for (size_t i = 0; i < lengthof(final); i++)
		if (strncmp(sqlstate, final[i], strlen(final[i])) == 0)
			return false;
	return true;
}

/*
 * Errors of who came second.  Tried again, a function sees what the first one did, and
 * says what that means: also of a key that was free when it looked.
 */
bool
api_lost_race(const char *sqlstate)
{
	static const char *const races[] = {"40001", "40P01", "ST001", "ST020", "MB007", "SG002",
	"23505"};

	for (size_t i = 0; i < lengthof(races); i++)
		if (strcmp(sqlstate, races[i]) == 0)
			return true;
	return false;
}

/*
 * Errors of whoever wrote or set up the handler: no such function or table, no
 * privilege, bad syntax.  Neither the message nor waiting for something is to blame.
 */
bool
api_program_error(const char *sqlstate)
{
	return strncmp(sqlstate, "42", 2) == 0 || strcmp(sqlstate, "3F000") == 0;
}

static PgStatement *
make_statement(Text *sql, int nparameters)
{
	PgStatement *statement = memory_zero(1, sizeof(*statement));

	statement->sql = text_take(sql);
	statement->nparameters = nparameters;
	return statement;
}

static void
add_parameters(Text *sql, int n)
{
	text_add(sql, "(");
	for (int i = 1; i <= n; i++)
		text_format(sql, "%s$%d", i > 1 ? ", " : "", i);
	text_add(sql, ")");
}
