/*
 * api.c
 *		The statements that go with every request, the sampler's, and the routes
 *		that resources.c and actions.c make.
 */
#include "console/api.h"

#include <stdlib.h>
#include <string.h>

#include "lib/arguments.h"

/* Whoever looks cannot hurt: nothing is written, and nothing takes long. */
#define READ_ONLY(timeout) \
	"SELECT pg_catalog.set_config('transaction_read_only', 'on', true), " \
	"pg_catalog.set_config('statement_timeout', '" timeout "', true), " \
	"pg_catalog.set_config('lock_timeout', '1900ms', true)"

const PgStatement api_session_settings = {
	"SELECT pg_catalog.set_config('statement_timeout', '2s', false), "
	"pg_catalog.set_config('lock_timeout', '2s', false), "
	"pg_catalog.set_config('idle_in_transaction_session_timeout', '10s', false), "
	"pg_catalog.set_config('ecommerce.source', 'Console', false), "
	"pg_catalog.set_config('search_path', '', false), "
	"pg_catalog.set_config('timezone', 'UTC', false), "
	"pg_catalog.set_config('intervalstyle', 'iso_8601', false), "
	"pg_catalog.set_config('jit', 'off', false)", 0
};
const PgStatement api_whoami = {
	"SELECT pg_catalog.json_build_object('role', session_user, "
	"'database', pg_catalog.current_database(), "
	"'server', pg_catalog.current_setting('server_version'), "
	"'extension', (SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'ecommerce'), "
	"'monitor', pg_catalog.pg_has_role('ecommerce_monitor', 'usage') "
	"OR pg_catalog.pg_has_role('ecommerce_reader', 'usage'), "
	"'reader', pg_catalog.pg_has_role('ecommerce_reader', 'usage'), "
	"'writer', pg_catalog.pg_has_role('ecommerce_writer', 'usage'), "
	"'admin', pg_catalog.pg_has_role('ecommerce_admin', 'usage'), "
	"'signal', pg_catalog.pg_has_role('pg_signal_backend', 'usage'), "
	"'shop', pg_catalog.to_regnamespace('ecommerce_order') IS NOT NULL)::text", 0
};
const PgStatement api_begin_read = {READ_ONLY("2s"), 0};
const PgStatement api_begin_slow = {READ_ONLY("110s"), 0};
const PgStatement api_begin_action = {
	"SELECT pg_catalog.set_config('statement_timeout', '30s', true), "
	"ecommerce.set_context(correlation_id => $1::uuid, user_id => session_user::text)", 1
};
/* One stream for each who acts; large bodies are told by their beginning. */
const PgStatement api_record_action = {
	"SELECT event_store.append('console-' || session_user, -1, 'OperatorActed', "
	"pg_catalog.jsonb_build_object('action', $1::text, 'request', "
	"CASE WHEN pg_catalog.length($2::text) <= 10000 THEN $2::jsonb "
	"ELSE pg_catalog.to_jsonb(pg_catalog.left($2::text, 10000)) END))", 2
};
/* What costs next to nothing to ask, and is another one as soon as somebody has done something. */
const PgStatement api_pulse = {
	"SELECT pg_catalog.concat_ws(' ', pg_catalog.pg_current_snapshot(), "
	"event_store.position_counter(), (SELECT pg_catalog.sum(t.sent_total + t.acked_total) "
	"FROM message_bus._endpoint_totals() t), (SELECT pg_catalog.string_agg("
	"pg_catalog.concat_ws(' ', w.kind, w.pid), ' ') FROM ecommerce._workers() w))", 0
};

/*
 * What is wrong costs most to find out, and so is asked for once: the overview counts its
 * rows, and metrics in the same transaction find them where this has put them.  The third
 * column is what a connection that begins now would be set to.
 */
const PgStatement api_sample = {
	"SELECT pg_catalog.json_build_object('overview', o, 'problems', "
	"pg_catalog.jsonb_path_query_array(p.problems, '$[0 to 99]'))::text, "
	"pg_catalog.set_config('console.problems', p.problems::text, true), "
	"coalesce((SELECT pg_catalog.jsonb_agg(s ORDER BY s.setdatabase, s.setrole) FROM "
	"pg_catalog.pg_db_role_setting s WHERE s.setrole IN (0, (SELECT r.oid FROM "
	"pg_catalog.pg_roles r WHERE r.rolname = session_user)) AND s.setdatabase IN (0, (SELECT "
	"d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()))), "
	"'[]')::text, coalesce(p.problems = '[]' AND (o.depth, o.in_flight, o.mark_lag, "
	"o.sent_per_s, o.acked_per_s) = (0, 0, 0, 0, 0), false) FROM "
	API_PROBLEMS ", LATERAL ecommerce.overview(p.problems) o", 0
};
const PgStatement api_metrics = {
	"SELECT name, labels::text, kind, value, help FROM "
	"ecommerce.metrics(pg_catalog.current_setting('console.problems')::jsonb)", 0
};
const PgStatement api_listen_events = {"LISTEN event_store", 0};

static HttpRoute *routes;
static PgStatement *statements; /* parallel to the routes that are resources or actions */
static int	nfirst;
static int	nresources;

static int	count_resources(const Resource *list);

/*
 * The given routes and one for each resource and action.  Who may use it is
 * up to the database: the handlers ask who has logged in.
 */
const HttpRoute *
api_routes(const HttpRoute *first, void (*answer) (HttpCall *call), void (*act) (HttpCall *call))
{
	int			nactions = count_resources(api_actions);

	while (first[nfirst].method)
		nfirst++;
	nresources = count_resources(api_resources);
	routes = memory_zero((size_t) (nfirst + nresources + nactions + 1), sizeof(HttpRoute));
	statements = memory_zero((size_t) (nresources + nactions), sizeof(PgStatement));
	memcpy(routes, first, sizeof(HttpRoute) * (size_t) nfirst);
	for (int i = 0; i < nresources + nactions; i++)
	{
		const Resource *resource = i < nresources ? &api_resources[i]
			: &api_actions[i - nresources];
		Text		pattern = {0};

		text_format(&pattern, "/api/%s", resource->name);
		routes[nfirst + i] = (HttpRoute) {
			.method = strncmp(resource->arguments, "body", 4) == 0 ? "POST" : "GET",
			.pattern = text_take(&pattern), .arguments = resource->arguments,
			.access = ACCESS_PUBLIC, .handler = resource->acts ? act : answer
		};
		statements[i] = (PgStatement) {resource->sql, arguments_count(resource->arguments)};
	}
	return routes;
}

/* The resource of one of those routes. */
const Resource *
api_resource(const HttpRoute *route)
{
	int			n = (int) (route - routes) - nfirst;

	return n < nresources ? &api_resources[n] : &api_actions[n - nresources];
}

const PgStatement *
api_statement(const HttpRoute *route)
{
	return &statements[route - routes - nfirst];
}

void
api_routes_free(void)
{
	for (HttpRoute *route = routes ? routes + nfirst : NULL; route && route->method; route++)
		free((char *) route->pattern);
	free(routes);
	free(statements);
	routes = NULL;
	statements = NULL;
	nfirst = nresources = 0;
}

static int
count_resources(const Resource *list)
{
	int			n = 0;

	while (list[n].name)
		n++;
	return n;
}
