/*
 * work.c
 *		Work in the outside world: claim, act, settle.
 *
 * The fence given out with a claim must come back with its outcome; when the
 * lease has run out and somebody else has claimed the work, the database
 * ignores the late outcome.  An outcome that cannot be recorded because the
 * database is away is kept and tried again: it is the only witness of what
 * happened outside.
 */
#include "lib/work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "lib/api.h"
#include "lib/log.h"
#include "lib/metrics.h"
#include "lib/resilience.h"
#include "lib/text.h"
#include "lib/trace.h"

#define DEADLINE_MS 30000
#define SETTLE_MIN_MS 100
#define SETTLE_MAX_MS 5000

struct EcommerceWorkLoop
{
	WorkOptions options;
	PgStatement *claim;
	PgStatement *settle;
	struct event *poll;
	bool		claiming;
	bool		again;
	bool		draining;
	int			pending;
	char		limit[12];
	char		lease[32];
	const char *parameters[2];
	PgStep		step;
};

static void on_poll(evutil_socket_t socket, short what, void *argument);
static bool begin_claim(WorkLoop *loop);
static void on_claimed(void *argument, const PgResults *results);
static WorkItem *make_item(WorkLoop *loop, const PgResults *results, int step, int row);
static void run_settle(WorkItem *item);
static void on_settled(void *argument, const PgResults *results);
static void settle_later(WorkItem *item);
static void on_settle_again(evutil_socket_t socket, short what, void *argument);
static void end_item(WorkItem *item, const char *outcome);
static void arm(WorkLoop *loop);

WorkLoop *
work_open(const WorkOptions *options)
{
	WorkLoop   *loop = memory_zero(1, sizeof(*loop));

	loop->options = *options;
	loop->claim = api_claim_function(options->claim);
	loop->settle = api_settle_function(options->settle);
	loop->poll = evtimer_new(options->base, on_poll, loop);
	snprintf(loop->lease, sizeof(loop->lease), "%ld milliseconds", options->lease_ms);
	arm(loop);
	return loop;
}

/* Looks for work at once: somebody has just recorded an intent. */
void
work_kick(WorkLoop *loop)
{
	if (loop == NULL || !begin_claim(loop))
		return;
	if (!pool_run(loop->options.pool, &loop->step, 1, DEADLINE_MS, on_claimed, loop))
	{
		loop->claiming = false;
		arm(loop);
	}
}

/*
 * A step for the end of the transaction that records intents: it claims them
 * there, which spares a commit and a round trip.  NULL: not now, kick once it
 * has committed.  After a step work_take must follow.
 */
const PgStep *
work_offer(WorkLoop *loop)
{
	return loop && begin_claim(loop) ? &loop->step : NULL;
}

/* Starts what the step has claimed; results NULL if its transaction came to nothing. */
void
work_take(WorkLoop *loop, const PgResults *results, int step)
{
	int			n = results ? pg_rows(results, step) : 0;

	loop->claiming = false;
	for (int i = 0; i < n; i++)
	{
		WorkItem   *item = make_item(loop, results, step, i);

		loop->pending++;
		log_write(LEVEL_DEBUG, &item->context, "Starting {Operation}", "Operation",
				  item->operation, "WorkId", item->id, NULL);
		loop->options.start(item);
	}
	/* as many as were asked for: there may be more */
	if (n == atoi(loop->limit) || loop->again)
		work_kick(loop);
	if (!loop->claiming)
		arm(loop);
}

/* Records how the work went; outcome is a JSON object and is copied. */
void
work_settle(WorkItem *item, const char *outcome)
{
	item->outcome = memory_string(outcome);
	item->parameters[0] = item->id;
	item->parameters[1] = item->fence;
	item->parameters[2] = item->outcome;
	item->step = (PgStep) {item->loop->settle, item->parameters};
	run_settle(item);
}

void
work_drain(WorkLoop *loop)
{
	if (loop == NULL)
		return;
	loop->draining = true;
	evtimer_del(loop->poll);
}

/* Items claimed and not settled yet. */
int
work_pending(const WorkLoop *loop)
{
	return loop ? loop->pending + (loop->claiming ? 1 : 0) : 0;
}

void
work_close(WorkLoop *loop)
{
	if (loop == NULL)
		return;
	event_free(loop->poll);
	api_free(loop->claim);
	api_free(loop->settle);
	free(loop);
}

static void
on_poll(evutil_socket_t socket, short what, void *argument)
{
	(void) socket;
	(void) what;
	work_kick(argument);
}

/* Prepares the step; false, to be tried again later, if one is under way or enough is in hand. */
static bool
begin_claim(WorkLoop *loop)
{
	int			room = loop->options.most - loop->pending;
	int			allowed = loop->options.room ? loop->options.room() : room;

	if (loop->draining)
		return false;
	if (allowed <= 0 && !loop->claiming)
	{
		arm(loop);
		return false;
	}
	if (room > allowed)
		room = allowed;
	loop->again = loop->claiming || room <= 0;
	if (loop->again)
		return false;
	loop->claiming = true;
	snprintf(loop->limit, sizeof(loop->limit), "%d", room);
	loop->parameters[0] = loop->limit;
	loop->parameters[1] = loop->lease;
	loop->step = (PgStep) {loop->claim, loop->parameters};
	evtimer_del(loop->poll);
	return true;
}

static void
on_claimed(void *argument, const PgResults *results)
{
	WorkLoop   *loop = argument;

	if (results && !pg_succeeded(results) && !pg_lost(results))
		log_write(LEVEL_ERROR, NULL, "Claiming outside work failed: {Error}", "Error",
				  pg_message(results), "SqlState", pg_sqlstate(results), NULL);
	work_take(loop, results && pg_succeeded(results) ? results : NULL, 0);
}

static WorkItem *
make_item(WorkLoop *loop, const PgResults *results, int step, int row)
{
	WorkItem   *item = memory_zero(1, sizeof(*item));

	item->loop = loop;
	copy_string(item->id, sizeof(item->id), pg_value(results, step, row, CLAIM_WORK_ID));
	copy_string(item->fence, sizeof(item->fence), pg_value(results, step, row, CLAIM_FENCE));
	copy_string(item->operation, sizeof(item->operation),
				pg_value(results, step, row, CLAIM_OPERATION));
	item->request = memory_string(pg_value(results, step, row, CLAIM_REQUEST));
	context_start(&item->context, pg_value(results, step, row, CLAIM_CORRELATION_ID),
				  pg_value(results, step, row, CLAIM_TRACEPARENT));
	item->context.is_message = true;
	copy_string(item->context.subject, sizeof(item->context.subject), item->operation);
	item->started_ns = clock_wall_ns();
	return item;
}

static void
run_settle(WorkItem *item)
{
	if (!pool_run(item->loop->options.pool, &item->step, 1, DEADLINE_MS, on_settled, item))
		settle_later(item);
}

static void
on_settled(void *argument, const PgResults *results)
{
	WorkItem   *item = argument;
	const char *recorded;

	if (results == NULL || pg_lost(results) ||
		(!pg_succeeded(results) && api_retryable(pg_sqlstate(results))))
	{
		settle_later(item);
		return;
	}
	if (!pg_succeeded(results))
	{
		log_write(LEVEL_ERROR, &item->context, "Outcome of {Operation} was refused: {Error}",
				  "Operation", item->operation, "WorkId", item->id, "Error", pg_message(results),
				  "SqlState", pg_sqlstate(results), NULL);
		end_item(item, "refused");
		return;
	}
	recorded = pg_value(results, 0, 0, 0);
	end_item(item, recorded && recorded[0] == 't' ? "settled" : "late");
}

static void
settle_later(WorkItem *item)
{
	long		delay = backoff_delay(item->attempt++, SETTLE_MIN_MS, SETTLE_MAX_MS,
									  random_fraction());
	struct timeval wait = {delay / 1000, delay % 1000 * 1000};

	if (item->timer)
		event_free(item->timer);
	item->timer = evtimer_new(item->loop->options.base, on_settle_again, item);
	evtimer_add(item->timer, &wait);
}

static void
on_settle_again(evutil_socket_t socket, short what, void *argument)
{
	(void) socket;
	(void) what;
	run_settle(argument);
}

static void
end_item(WorkItem *item, const char *outcome)
{
	WorkLoop   *loop = item->loop;

	metrics_count(&metric_work, 1, item->operation, outcome);
	trace_record(&item->context, SPAN_INTERNAL, item->operation, item->started_ns,
				 clock_wall_ns(), strcmp(outcome, "settled") == 0 ? NULL : outcome);
	if (item->timer)
		event_free(item->timer);
	free(item->request);
	free(item->outcome);
	free(item);
	loop->pending--;
	if (loop->again)
		work_kick(loop);
}

static void
arm(WorkLoop *loop)
{
	struct timeval interval = {loop->options.poll_ms / 1000,
	loop->options.poll_ms % 1000 * 1000};

	if (!loop->draining)
		evtimer_add(loop->poll, &interval);
}
