/*
 * session.c
 *		A connection to PostgreSQL that comes back.
 *
 * States: waiting (timer runs) > connecting > asking > setting up > ready > waiting ...
 * The back-off starts again at its least delay only after a session was ready,
 * so that a server which refuses the setup is not hammered.  It stays short: a failover
 * takes some 20 s, and whoever has waited for it must not sleep on after it.
 */
#include "lib/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/api.h"
#include "lib/context.h"
#include "lib/log.h"
#include "lib/resilience.h"
#include "lib/text.h"

#define RECONNECT_MIN_MS 100
#define RECONNECT_MAX_MS 3000
#define SETUP_DEADLINE_MS 30000

struct EcommerceSession
{
	SessionOptions options;
	PgConnection *connection;	/* NULL while waiting */
	bool		ready;
	bool		shared;			/* behind a connection pooler */
	int			attempt;
	struct event *timer;
};

static void connect_now(evutil_socket_t socket, short what, void *argument);
static void on_connected(void *argument);
static void on_asked(void *argument, const PgResults *results);
static void on_setup(void *argument, const PgResults *results);
static void on_lost(void *argument, const char *reason);
static void on_notified(void *argument, const char *channel, const char *payload);
static void wait_and_reconnect(Session *session, const char *reason);

static const PgEvents session_events = {on_connected, on_lost, on_notified};

/* Begins to connect at once; options->ready is called each time it is usable. */
Session *
session_open(const SessionOptions *options)
{
	Session    *session = memory_zero(1, sizeof(*session));

	session->options = *options;
	session->timer = evtimer_new(options->base, connect_now, session);
	connect_now(-1, 0, session);
	return session;
}

bool
session_ready(const Session *session)
{
	return session->ready && pg_idle(session->connection);
}

/* Whether the backend serves others too, so that no notification can come. */
bool
session_shared(const Session *session)
{
	return session->shared;
}

/* As pg_run; false while the session is not ready. */
bool
session_run(Session *session, const PgStep *steps, int nsteps, long deadline_ms, PgDone done,
			void *argument)
{
	return session->ready && pg_run(session->connection, steps, nsteps, deadline_ms, done,
									argument);
}

/*
 * A new connection in place of one that has nothing to do: what ALTER DATABASE and ALTER ROLE
 * set is read when a connection begins.
 */
void
session_renew(Session *session)
{
	if (!session_ready(session))
		return;
	pg_close(session->connection);
	session->ready = false;
	connect_now(-1, 0, session);
}

/*
 * Gives the connection up and makes a new one, for a caller that no longer
 * knows in what state its transaction is.  Does not call lost.
 */
void
session_reset(Session *session)
{
	wait_and_reconnect(session, "reset");
}

void
session_close(Session *session)
{
	if (session == NULL)
		return;
	pg_close(session->connection);
	event_free(session->timer);
	free(session);
}

static void
connect_now(evutil_socket_t socket, short what, void *argument)
{
	Session    *session = argument;

	(void) socket;
	(void) what;
	session->connection = pg_connect(session->options.base, session->options.conninfo,
									 session->options.application, &session_events, session);
}

static void
on_connected(void *argument)
{
	static const PgStep ask = {&api_backend, NULL};
	Session    *session = argument;

	pg_run(session->connection, &ask, 1, SETUP_DEADLINE_MS, on_asked, session);
}

/* A pooler answers connections itself, with a process id that is none. */
static void
on_asked(void *argument, const PgResults *results)
{
	Session    *session = argument;
	const SessionOptions *options = &session->options;

	if (pg_succeeded(results))
	{
		session->shared = atoi(pg_value(results, 0, 0, 0)) != pg_backend(session->connection);
		if (session->shared)
			pg_share(session->connection, options->transaction, options->ntransaction);
		else
		{
			pg_keep(session->connection);
			pg_run(session->connection, options->setup, options->nsetup, SETUP_DEADLINE_MS,
				   on_setup, session);
			return;
		}
	}
	on_setup(argument, results);
}

static void
on_setup(void *argument, const PgResults *results)
{
	Session    *session = argument;

	if (pg_lost(results))
		return;					/* on_lost follows */
	if (!pg_succeeded(results))
	{
		wait_and_reconnect(session, pg_message(results));
		return;
	}
	session->ready = true;
	session->attempt = 0;
	if (session->options.ready)
		session->options.ready(session->options.argument);
}

static void
on_lost(void *argument, const char *reason)
{
	Session    *session = argument;
	bool		was_ready = session->ready;

	wait_and_reconnect(session, reason);
	if (was_ready && session->options.lost)
		session->options.lost(session->options.argument);
}

static void
on_notified(void *argument, const char *channel, const char *payload)
{
	Session    *session = argument;

	(void) channel;
	(void) payload;
	if (session->options.notified)
		session->options.notified(session->options.argument);
}

static void
wait_and_reconnect(Session *session, const char *reason)
{
	long		delay = backoff_delay(session->attempt++, RECONNECT_MIN_MS, RECONNECT_MAX_MS,
									  random_fraction());
	struct timeval wait = {delay / 1000, delay % 1000 * 1000};
	char		text[24];

	snprintf(text, sizeof(text), "%ld", delay);
	log_write(LEVEL_WARNING, NULL,
			  "Database connection unavailable: {Reason}; next attempt in {DelayMs} ms",
			  "Reason", reason, "DelayMs", text, NULL);
	pg_close(session->connection);
	session->connection = NULL;
	session->ready = false;
	evtimer_add(session->timer, &wait);
}
