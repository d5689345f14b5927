/*
 * api.h
 *		Every SQL statement of the console.
 */
#ifndef SERVICES_CONSOLE_API_H
#define SERVICES_CONSOLE_API_H

#include "lib/http.h"
#include "lib/pg.h"

#define API_DEADLINE_MS 5000	/* the server itself gives up after two seconds */
#define API_SLOW_DEADLINE_MS 120000

/* All that is wrong, as one row with one array, asked for once. */
#define API_PROBLEMS \
	"(SELECT coalesce(pg_catalog.jsonb_agg(p), '[]') AS problems FROM ecommerce.problems p) p"

/*
 * Something to be asked for, GET /api/<name>, or done, POST /api/<name>.  The statement gives
 * one row with one value, the reply; its arguments are as in http.h.  Whatever takes a body is
 * a POST.  A table of them ends with a NULL name.
 */
typedef struct Resource
{
	const char *name;
	const char *arguments;
	bool		acts;			/* changes something: only with --actions */
	bool		slow;			/* may take longer than two seconds */
	const char *sql;
} Resource;

extern const Resource api_resources[];
extern const Resource api_actions[];

extern const PgStatement api_session_settings;	/* of a connection of a browser */
extern const PgStatement api_whoami;	/* a row with one JSON object */
extern const PgStatement api_begin_read;
extern const PgStatement api_begin_slow;
extern const PgStatement api_begin_action;	/* correlation id */
extern const PgStatement api_record_action;	/* action, body */
extern const PgStatement api_pulse; /* a value that is another one when something has moved */
extern const PgStatement api_sample;	/* a row */
extern const PgStatement api_metrics;	/* rows */
extern const PgStatement api_listen_events;

enum SampleColumn
{
	SAMPLE_JSON, SAMPLE_PROBLEMS, SAMPLE_SETTINGS, SAMPLE_IS_QUIET
};

enum MetricsColumn
{
	METRICS_NAME, METRICS_LABELS, METRICS_KIND, METRICS_VALUE, METRICS_HELP
};

const HttpRoute *api_routes(const HttpRoute *first, void (*answer) (HttpCall *call),
							void (*act) (HttpCall *call));
const Resource *api_resource(const HttpRoute *route);
const PgStatement *api_statement(const HttpRoute *route);
void		api_routes_free(void);

#endif
