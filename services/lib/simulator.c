/*
 * simulator.c
 *		Outside work done by a simulated provider.
 *
 * fn(operation text, request jsonb) RETURNS jsonb runs in a transaction of its
 * own, between the claim's and the settlement's, as a provider outside would:
 * a daemon that dies after it leaves a charge in the provider's books that the
 * service has not heard of.
 */
#include "lib/simulator.h"

#include <stdlib.h>

#include "lib/api.h"
#include "lib/text.h"

#define DEADLINE_MS 10000

typedef struct Call
{
	WorkItem   *item;
	const char *parameters[2];
	PgStep		step;
} Call;

static struct
{
	Pool	   *pool;
	PgStatement *statement;
} simulator;

static void on_outcome(void *argument, const PgResults *results);

/* The statement lives as long as the pool, which is as long as the process. */
void
simulator_start(Runtime *runtime, const char *function)
{
	simulator.pool = runtime->pool;
	simulator.statement = api_json_function(function, 2);
}

void
simulator_call(WorkItem *item)
{
	Call	   *call = memory_zero(1, sizeof(*call));

	call->item = item;
	call->parameters[0] = item->operation;
	call->parameters[1] = item->request;
	call->step = (PgStep) {simulator.statement, call->parameters};
	if (!pool_run(simulator.pool, &call->step, 1, DEADLINE_MS, on_outcome, call))
		on_outcome(call, NULL);
}

/* It has no network that could fail, so it is there when the database is. */
const char *
simulator_state(void)
{
	return "ok";
}

static void
on_outcome(void *argument, const PgResults *results)
{
	Call	   *call = argument;
	const char *outcome = results && pg_succeeded(results) ? pg_value(results, 0, 0, 0) : NULL;

	/* a call that broke off may have been booked, as with any provider */
	work_settle(call->item, outcome ? outcome : "{\"result\": \"unknown\"}");
	free(call);
}
