/*
 * pool.c
 *		A few connections shared by many short batches.
 *
 * A batch takes an idle connection, or waits in a queue, first come first
 * served.  The queue is bounded: beyond it the caller is told to go away, which
 * is what a server under overload owes its clients.  Waiting counts towards
 * the deadline; one that passes in the queue was never sent.
 */
#include "lib/pool.h"

#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "lib/context.h"
#include "lib/text.h"

typedef struct Job
{
	struct Job *next;
	Pool	   *pool;
	int			session;		/* that runs it */
	const PgStep *steps;
	int			nsteps;
	uint64_t	deadline;
	PgDone		done;
	void	   *argument;
} Job;

struct EcommercePool
{
	Session   **sessions;
	Job		  **running;		/* of each session, NULL: none */
	int			size;
	int			max_waiting;
	int			waiting;
	int			busy;
	Job		   *first;
	Job		  **last;
	struct event *timer;		/* looks for jobs whose deadline has passed */
};

#define SWEEP_MS 100

static void start_jobs(void *argument);
static bool start_job(Pool *pool, Job *job);
static void job_done(void *argument, const PgResults *results);
static void sweep(evutil_socket_t socket, short what, void *argument);

/* Opens size sessions as the template says, but for ready, lost and argument. */
Pool *
pool_open(const SessionOptions *template, int size, int max_waiting)
{
	Pool	   *pool = memory_zero(1, sizeof(*pool));
	SessionOptions options = *template;

	pool->size = size;
	pool->max_waiting = max_waiting;
	pool->last = &pool->first;
	pool->timer = evtimer_new(template->base, sweep, pool);
	pool->sessions = memory_zero((size_t) size, sizeof(Session *));
	pool->running = memory_zero((size_t) size, sizeof(Job *));
	options.ready = start_jobs;
	options.lost = NULL;
	options.notified = NULL;
	options.argument = pool;
	for (int i = 0; i < size; i++)
		pool->sessions[i] = session_open(&options);
	return pool;
}

/*
 * Runs the batch on the next free connection.  The steps and their parameters
 * must stay until done is called.  Returns false, and calls nothing, when too
 * many wait already; done gets NULL when the deadline passed in the queue.
 */
bool
pool_run(Pool *pool, const PgStep *steps, int nsteps, long deadline_ms, PgDone done,
		 void *argument)
{
	Job		   *job;
	struct timeval interval = {0, SWEEP_MS * 1000};

	if (pool->waiting >= pool->max_waiting)
		return false;
	job = memory_zero(1, sizeof(*job));
	*job = (Job) {NULL, pool, -1, steps, nsteps, clock_steady_ms() + (uint64_t) deadline_ms, done,
	argument};
	if (pool->first == NULL && start_job(pool, job))
		return true;
	*pool->last = job;
	pool->last = &job->next;
	if (pool->waiting++ == 0)
		evtimer_add(pool->timer, &interval);
	return true;
}

/* Connections that are up, busy or not. */
int
pool_ready(const Pool *pool)
{
	int			n = pool->busy;

	for (int i = 0; i < pool->size; i++)
		n += session_ready(pool->sessions[i]) ? 1 : 0;
	return n;
}

int
pool_busy(const Pool *pool)
{
	return pool->busy;
}

int
pool_waiting(const Pool *pool)
{
	return pool->waiting;
}

/* New connections in place of those that have nothing to do. */
void
pool_renew(Pool *pool)
{
	for (int i = 0; i < pool->size; i++)
		session_renew(pool->sessions[i]);
}

void
pool_close(Pool *pool)
{
	if (pool == NULL)
		return;
	for (int i = 0; i < pool->size; i++)
	{
		session_close(pool->sessions[i]);
		free(pool->running[i]);
	}
	while (pool->first)
	{
		Job		   *job = pool->first;

		pool->first = job->next;
		free(job);
	}
	event_free(pool->timer);
	free(pool->sessions);
	free(pool->running);
	free(pool);
}

static void
start_jobs(void *argument)
{
	Pool	   *pool = argument;

	while (pool->first)
	{
		Job		   *job = pool->first;

		if (!start_job(pool, job))
			break;
		pool->first = job->next;
		if (pool->first == NULL)
			pool->last = &pool->first;
		pool->waiting--;
	}
}

static bool
start_job(Pool *pool, Job *job)
{
	uint64_t	now = clock_steady_ms();
	long		left = job->deadline > now ? (long) (job->deadline - now) : 1;

	for (int i = 0; i < pool->size; i++)
		if (session_ready(pool->sessions[i]) &&
			session_run(pool->sessions[i], job->steps, job->nsteps, left, job_done, job))
		{
			pool->busy++;
			pool->running[i] = job;
			job->session = i;
			return true;
		}
	return false;
}

static void
job_done(void *argument, const PgResults *results)
{
	Job		   *job = argument;
	Pool	   *pool = job->pool;
	PgDone		done = job->done;

	argument = job->argument;
	pool->running[job->session] = NULL;
	free(job);
	pool->busy--;
	done(argument, results);
	start_jobs(pool);
}

static void
sweep(evutil_socket_t socket, short what, void *argument)
{
	Pool	   *pool = argument;
	uint64_t	now = clock_steady_ms();
	struct timeval interval = {0, SWEEP_MS * 1000};

	(void) socket;
	(void) what;
	for (Job **link = &pool->first; *link;)
	{
		Job		   *job = *link;

		if (job->deadline > now)
		{
			link = &job->next;
			continue;
		}
		*link = job->next;
		if (*link == NULL)
			pool->last = link;
		pool->waiting--;
		job->done(job->argument, NULL);
		free(job);
	}
	if (pool->waiting > 0)
		evtimer_add(pool->timer, &interval);
}
