/*
 * health.c
 *		The built-in routes: /health/live, /health/ready, /metrics, /openapi.json.
 *
 * Live says that the loop turns; ready asks the database at that moment whether
 * work can be taken: whether its SQL is not older than the daemon, too.
 */
#include "lib/health.h"

#include <stdio.h>
#include <string.h>

#include "lib/api.h"
#include "lib/metrics.h"
#include "lib/text.h"

#define READY_DEADLINE_MS 2000

static struct
{
	Runtime    *runtime;
	char		extension[64];
	const char *versions[2];
	const char *parameters[1];
	PgStep		steps[2];
} health;

enum
{
	STEP_VERSION,
	STEP_BUS
};

static void answer_live(HttpCall *call);
static void answer_ready(HttpCall *call);
static void on_bus_state(void *argument, const PgResults *results);
static const char *bus_state(const PgResults *results);
static bool add_check(Text *body, const char *name, const char *state);
static void answer_metrics(HttpCall *call);
static void answer_openapi(HttpCall *call);

const HttpRoute health_routes[] = {
	{"GET", "/health/live", NULL, NULL, ACCESS_PUBLIC, answer_live, NULL},
	{"GET", "/health/ready", NULL, NULL, ACCESS_PUBLIC, answer_ready, NULL},
	{"GET", "/metrics", NULL, NULL, ACCESS_PUBLIC, answer_metrics, NULL},
	{"GET", "/openapi.json", NULL, NULL, ACCESS_PUBLIC, answer_openapi, NULL},
	{NULL}
};

/* bus_endpoint is the one whose state counts for this daemon, NULL: none. */
void
health_start(Runtime *runtime, const char *bus_endpoint)
{
	health.runtime = runtime;
	health.parameters[0] = bus_endpoint;
	/* orderd's SQL is in the extension ecommerce_order */
	snprintf(health.extension, sizeof(health.extension), "ecommerce_%.*s",
			 (int) strlen(runtime->service->program) - 1, runtime->service->program);
	health.versions[0] = health.extension;
	health.versions[1] = ECOMMERCE_VERSION;
	health.steps[STEP_VERSION] = (PgStep) {&api_older_sql, health.versions};
	health.steps[STEP_BUS] = (PgStep) {&api_bus_state, health.parameters};
}

static void
answer_live(HttpCall *call)
{
	http_reply_json(call, 200, "{\"status\":\"ok\"}");
}

static void
answer_ready(HttpCall *call)
{
	if (!pool_run(health.runtime->pool, health.steps, 2, READY_DEADLINE_MS, on_bus_state, call))
		on_bus_state(call, NULL);
}

static void
on_bus_state(void *argument, const PgResults *results)
{
	HttpCall   *call = argument;
	const Runtime *runtime = health.runtime;
	Text		checks = {0};
	Text		body = {0};
	bool		good = !runtime->draining;
	bool		well = true;

	good &= add_check(&checks, "database", results && !pg_lost(results) ? "ok" : "unreachable");
	if (results && !pg_lost(results) && pg_rows(results, STEP_VERSION) > 0)
		good &= add_check(&checks, "sql", pg_value(results, STEP_VERSION, 0, 0));
	if (health.parameters[0])
		good &= add_check(&checks, "bus", bus_state(results));
	/* work for somebody outside who is away is taken all the same, and waits */
	for (const HealthCheck *check = runtime->service->checks; check && check->name; check++)
		well &= add_check(&checks, check->name, check->state());
	text_format(&body, "{\"status\":\"%s\",\"checks\":{%s}}",
				runtime->draining ? "stopping"
				: !good			  ? "unavailable"
				: well			  ? "ok"
								  : "degraded",
				checks.data);
	http_reply_json(call, good ? 200 : 503, body.data);
	text_free(&checks);
	text_free(&body);
}

static const char *
bus_state(const PgResults *results)
{
	const Runtime *runtime = health.runtime;

	if (results == NULL || pg_lost(results))
		return "unreachable";
	if (!pg_succeeded(results))
		return "not installed";
	if (pg_rows(results, STEP_BUS) == 0)
		return "no endpoint";
	if (runtime->consumer && !consumer_connected(runtime->consumer))
		return "not consuming";
	return "ok";
}

/* Adds a check's state, and tells whether it is good. */
static bool
add_check(Text *body, const char *name, const char *state)
{
	text_format(body, "%s\"%s\":{\"status\":", body->length ? "," : "", name);
	text_json(body, state);
	text_add(body, "}");
	return strcmp(state, "ok") == 0;
}

static void
answer_metrics(HttpCall *call)
{
	const Runtime *runtime = health.runtime;
	Text		body = {0};

	metrics_set(&metric_pool, pool_ready(runtime->pool), "ready");
	metrics_set(&metric_pool, pool_busy(runtime->pool), "busy");
	metrics_set(&metric_pool, pool_waiting(runtime->pool), "waiting");
	if (runtime->consumer)
		metrics_set(&metric_consumer_up, consumer_connected(runtime->consumer) ? 1 : 0,
					runtime->service->endpoint);
	metrics_write(&body);
	if (runtime->service->metrics)
		runtime->service->metrics(&body);
	http_reply(call, 200, "text/plain; version=0.0.4; charset=utf-8", body.data, body.length);
	text_free(&body);
}

static void
answer_openapi(HttpCall *call)
{
	const char *openapi = health.runtime->service->openapi;

	if (openapi)
		http_reply_json(call, 200, openapi);
	else
		http_problem(call, 404, "there is no such resource", NULL);
}
