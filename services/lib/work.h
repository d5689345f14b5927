/*
 * work.h
 *		Work in the outside world: claimed from the database, done, settled there.
 *
 * A message that asks for something outside only records the intent; this loop
 * takes recorded intents under a lease, in the message's own transaction or in
 * one of its own, lets an adapter act, and records how it went.  A daemon that
 * dies in between leaves an intent whose lease runs out; the service's claim
 * function then hands it out as a question, not as a repetition.  What cannot be
 * done now, because nobody answers outside, is not claimed at all: it stays owed.
 */
#ifndef SERVICES_LIB_WORK_H
#define SERVICES_LIB_WORK_H

#include "lib/context.h"
#include "lib/pool.h"

typedef EcommerceWorkLoop WorkLoop;
typedef EcommerceWork WorkItem;

struct EcommerceWork
{
	WorkLoop   *loop;
	char		id[UUID_LENGTH + 1];
	char		fence[24];
	char		operation[32];
	char	   *request;		/* JSON object */
	char	   *outcome;
	Context		context;
	uint64_t	started_ns;
	int			attempt;		/* of settling */
	const char *parameters[3];
	PgStep		step;
	struct event *timer;		/* free for the adapter until it settles */
	void	   *adapter;		/* the adapter's own */
};

typedef struct WorkOptions
{
	struct event_base *base;
	Pool	   *pool;
	const char *claim;			/* fn(max_count int, lease interval) */
	const char *settle;			/* fn(work_id uuid, fence bigint, outcome jsonb) */
	void		(*start) (WorkItem *item);	/* must lead to work_settle, now or later */
	int			(*room) (void); /* how many may be started now; NULL: any */
	int			most;			/* at a time */
	long		poll_ms;
	long		lease_ms;
} WorkOptions;

WorkLoop   *work_open(const WorkOptions *options);
void		work_kick(WorkLoop *loop);
const PgStep *work_offer(WorkLoop *loop);
void		work_take(WorkLoop *loop, const PgResults *results, int step);
void		work_settle(WorkItem *item, const char *outcome);
void		work_drain(WorkLoop *loop);
int			work_pending(const WorkLoop *loop);
void		work_close(WorkLoop *loop);

#endif
