/*
 * duty.c
 *		Things to be done from time to time, each by a SQL function.
 *
 * Every daemon of a service runs them; the functions lock what they work on
 * and skip what others have locked, so that several may run at once.  One that
 * did something runs again at once, since there may be more.
 */
#include "lib/duty.h"

#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "lib/api.h"
#include "lib/context.h"
#include "lib/log.h"
#include "lib/metrics.h"
#include "lib/text.h"

#define DEADLINE_MS 30000

typedef struct Task
{
	DutyRoster *roster;
	const Duty *duty;
	PgStatement *statement;
	PgStep		step;
	struct event *timer;
	bool		running;
} Task;

struct DutyRoster
{
	Pool	   *pool;
	Task	   *tasks;
	int			ntasks;
	bool		draining;
};

static void on_timer(evutil_socket_t socket, short what, void *argument);
static void on_done(void *argument, const PgResults *results);
static void arm(Task *task, bool soon);

DutyRoster *
duty_start(struct event_base *base, Pool *pool, const Duty *duties)
{
	DutyRoster *roster = memory_zero(1, sizeof(*roster));

	roster->pool = pool;
	while (duties && duties[roster->ntasks].name)
		roster->ntasks++;
	roster->tasks = memory_zero((size_t) roster->ntasks, sizeof(Task));
	for (int i = 0; i < roster->ntasks; i++)
	{
		Task	   *task = &roster->tasks[i];

		task->roster = roster;
		task->duty = &duties[i];
		task->statement = api_duty_function(duties[i].function);
		task->step = (PgStep) {task->statement, NULL};
		task->timer = evtimer_new(base, on_timer, task);
		arm(task, false);
	}
	return roster;
}

void
duty_drain(DutyRoster *roster)
{
	roster->draining = true;
	for (int i = 0; i < roster->ntasks; i++)
		evtimer_del(roster->tasks[i].timer);
}

int
duty_pending(const DutyRoster *roster)
{
	int			n = 0;

	for (int i = 0; i < roster->ntasks; i++)
		n += roster->tasks[i].running ? 1 : 0;
	return n;
}

void
duty_stop(DutyRoster *roster)
{
	if (roster == NULL)
		return;
	for (int i = 0; i < roster->ntasks; i++)
	{
		event_free(roster->tasks[i].timer);
		api_free(roster->tasks[i].statement);
	}
	free(roster->tasks);
	free(roster);
}

static void
on_timer(evutil_socket_t socket, short what, void *argument)
{
	Task	   *task = argument;

	(void) socket;
	(void) what;
	task->running = pool_run(task->roster->pool, &task->step, 1, DEADLINE_MS, on_done, task);
	if (!task->running)
		arm(task, false);
}

static void
on_done(void *argument, const PgResults *results)
{
	Task	   *task = argument;
	const char *value;
	bool		some = false;

	task->running = false;
	if (results && pg_succeeded(results))
	{
		value = pg_value(results, 0, 0, 0);
		some = value && atol(value) > 0;
		if (some)
			metrics_count(&metric_duties, (double) atol(value), task->duty->name);
	}
	else if (results && !pg_lost(results))
		log_write(LEVEL_ERROR, NULL, "Duty {Duty} failed: {Error}", "Duty", task->duty->name,
				  "Error", pg_message(results), "SqlState", pg_sqlstate(results), NULL);
	arm(task, some);
}

static void
arm(Task *task, bool soon)
{
	long		interval = soon ? 1 : task->duty->interval_ms;
	struct timeval wait = {interval / 1000, interval % 1000 * 1000};

	if (!task->roster->draining)
		evtimer_add(task->timer, &wait);
}
