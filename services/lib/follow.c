/*
 * follow.c
 *		Requests that wait for events which are not there yet (long polls).
 *
 * A route that follows a category answers with a page, {"items", "cursor"}.  A
 * page without items is kept back for as long as the request's parameter wait
 * says, and the function is called again when there may be something.
 *
 * However many wait, one connection does, in event_store.wait(): for what comes
 * after the earliest cursor.  A cursor says how far somebody has read, and marks
 * never go back; so a request whose cursor lies before what is being waited for
 * has read before an event came that others have seen, and reads again at once.
 *
 * Where that connection is lost, or cannot wait because a pooler has put it into
 * a transaction, the requests look by themselves from time to time.
 */
#include "lib/follow.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/api.h"
#include "lib/log.h"

#define MOST_KEPT 1000
#define LONGEST_WAIT_S 20
#define LONGEST_ROUND_MS 5000	/* of one call of event_store.wait() */
#define LOOK_MS 500				/* without it */
#define PAGE_WITHOUT_ITEMS 200	/* bytes that such a page has at most */

typedef struct Kept
{
	struct Kept *next;
	Follower   *follower;
	HttpCall   *call;
	void		(*again) (HttpCall *call);
	int64_t		after;
	struct event *timer;
} Kept;

struct Follower
{
	struct event_base *base;
	Session    *session;
	const char *category;
	long		round_ms;
	Kept	   *kept;
	int			nkept;
	bool		waiting;		/* in event_store.wait() */
	bool		draining;
	int64_t		waiting_after;
	char		after[24];
	char		timeout[24];
	const char *parameters[3];
	PgStep		step;
	struct event *look;
};

static bool page_is_empty(const char *body, int64_t *cursor);
static void begin_wait(void *argument);
static void on_waited(void *argument, const PgResults *results);
static void on_time(evutil_socket_t socket, short what, void *argument);
static void on_look(evutil_socket_t socket, short what, void *argument);
static void let_go(Follower *follower, int64_t before);

/*
 * Opens a session as the template says, but for ready and argument; it cancels
 * statements after statement_timeout_ms.
 */
Follower *
follower_open(const SessionOptions *template, const char *category, long statement_timeout_ms)
{
	Follower   *follower = memory_zero(1, sizeof(*follower));
	SessionOptions options = *template;

	follower->base = template->base;
	follower->category = category;
	follower->round_ms = statement_timeout_ms / 2 < LONGEST_ROUND_MS ? statement_timeout_ms / 2
		: LONGEST_ROUND_MS;
	follower->look = evtimer_new(template->base, on_look, follower);
	options.ready = begin_wait;
	options.argument = follower;
	follower->session = session_open(&options);
	return follower;
}

/*
 * Whether the call is kept back, since its page has no items and it wants to wait
 * for some; again is called later then, once.
 */
bool
follower_keeps(Follower *follower, HttpCall *call, const char *body,
			   void (*again) (HttpCall *call))
{
	uint64_t	now = clock_steady_ms();
	Kept	   *kept;
	int64_t		cursor;
	struct timeval left;

	if (call->wait_until == 0)
	{
		const char *wait = http_parameter(call, "wait");
		long		seconds = wait ? strtol(wait, NULL, 10) : 0;

		call->wait_until = now + 1000 * (uint64_t) (seconds < LONGEST_WAIT_S ? seconds
													: LONGEST_WAIT_S);
	}
	if (follower->draining || call->request == NULL || now >= call->wait_until ||
		follower->nkept >= MOST_KEPT || !page_is_empty(body, &cursor))
		return false;
	kept = memory_zero(1, sizeof(*kept));
	*kept = (Kept) {follower->kept, follower, call, again, cursor,
	evtimer_new(follower->base, on_time, kept)};
	follower->kept = kept;
	follower->nkept++;
	left.tv_sec = (long) (call->wait_until - now) / 1000;
	left.tv_usec = (long) (call->wait_until - now) % 1000 * 1000;
	if (follower->waiting && cursor < follower->waiting_after)
		left = (struct timeval) {0, 0};
	evtimer_add(kept->timer, &left);
	begin_wait(follower);
	return true;
}

/* Keeps nothing any more. */
void
follower_drain(Follower *follower)
{
	if (follower == NULL)
		return;
	follower->draining = true;
	let_go(follower, INT64_MAX);
}

void
follower_close(Follower *follower)
{
	if (follower == NULL)
		return;
	session_close(follower->session);
	event_free(follower->look);
	while (follower->kept)
	{
		Kept	   *kept = follower->kept;

		follower->kept = kept->next;
		event_free(kept->timer);
		free(kept);
	}
	free(follower);
}

static bool
page_is_empty(const char *body, int64_t *cursor)
{
	json_t	   *page;
	const char *text;
	bool		empty;

	if (body == NULL || strlen(body) > PAGE_WITHOUT_ITEMS)
		return false;
	page = json_loads(body, 0, NULL);
	text = json_string_value(json_object_get(page, "cursor"));
	empty = text && json_array_size(json_object_get(page, "items")) == 0;
	*cursor = text ? strtoll(text, NULL, 10) : 0;
	json_decref(page);
	return empty;
}

/* Waits for what comes after the earliest cursor, unless that is going on. */
static void
begin_wait(void *argument)
{
	Follower   *follower = argument;
	struct timeval look = {0, LOOK_MS * 1000};
	int64_t		earliest = INT64_MAX;

	if (follower->waiting || follower->kept == NULL)
		return;
	for (const Kept *kept = follower->kept; kept; kept = kept->next)
		earliest = kept->after < earliest ? kept->after : earliest;
	snprintf(follower->after, sizeof(follower->after), "%lld", (long long) earliest);
	snprintf(follower->timeout, sizeof(follower->timeout), "%ld ms",
			 follower->round_ms);
	follower->parameters[0] = follower->after;
	follower->parameters[1] = follower->timeout;
	follower->parameters[2] = follower->category;
	follower->step = (PgStep) {&api_wait, follower->parameters};
	follower->waiting_after = earliest;
	follower->waiting = !session_shared(follower->session) &&
		session_run(follower->session, &follower->step, 1, 2 * LONGEST_ROUND_MS, on_waited,
					follower);
	if (!follower->waiting)
		evtimer_add(follower->look, &look);
}

static void
on_waited(void *argument, const PgResults *results)
{
	Follower   *follower = argument;
	struct timeval look = {0, LOOK_MS * 1000};

	follower->waiting = false;
	if (!pg_succeeded(results) || pg_rows(results, 0) != 1)
	{
		if (!pg_lost(results))
			log_write(LEVEL_WARNING, NULL, "Cannot wait for events: {Error}", "Error",
					  pg_message(results), "SqlState", pg_sqlstate(results), NULL);
		evtimer_add(follower->look, &look);
		return;
	}
	let_go(follower, strtoll(pg_value(results, 0, 0, 0), NULL, 10));
	begin_wait(follower);
}

/* The time that the request wanted to wait is over. */
static void
on_time(evutil_socket_t socket, short what, void *argument)
{
	Kept	   *kept = argument;
	Follower   *follower = kept->follower;
	HttpCall   *call = kept->call;
	void (*again)(HttpCall * call) = kept->again;

	(void) socket;
	(void) what;
	for (Kept **link = &follower->kept; *link; link = &(*link)->next)
		if (*link == kept)
		{
			*link = kept->next;
			break;
		}
	follower->nkept--;
	event_free(kept->timer);
	free(kept);
	again(call);
}

static void
on_look(evutil_socket_t socket, short what, void *argument)
{
	(void) socket;
	(void) what;
	let_go(argument, INT64_MAX);
}

/* Calls those again that have read less far; they may be kept once more. */
static void
let_go(Follower *follower, int64_t before)
{
	Kept	   *gone = NULL;

	for (Kept **link = &follower->kept; *link;)
	{
		Kept	   *kept = *link;

		if (kept->after >= before)
		{
			link = &kept->next;
			continue;
		}
		*link = kept->next;
		follower->nkept--;
		kept->next = gone;
		gone = kept;
	}
	while (gone)
	{
		Kept	   *kept = gone;

		gone = kept->next;
		event_free(kept->timer);
		kept->again(kept->call);
		free(kept);
	}
}
