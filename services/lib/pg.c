/*
 * pg.c
 *		One connection to PostgreSQL on the event loop; with pg_hosts.c and pg_results.c
 *		the only file that calls libpq.
 *
 * In a backend of our own statements are prepared on first use and known by the
 * address of their PgStatement.  A batch that gets no answer by its deadline costs the
 * connection: PQcancel would block, and a server that is alive ends the
 * statement by its own statement_timeout.  A crash at any point leaves the
 * server to roll the open transaction back.
 *
 * Of several servers one that does not answer while it is connected to is left out, and
 * the next is tried.
 *
 * Name resolution inside PQconnectStart blocks; give addresses or sockets
 * where that matters.
 */
#include "lib/pg.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "lib/log.h"
#include "lib/pg_hosts.h"
#include "lib/pg_results.h"
#include "lib/text.h"

/* A prepared statement is named after its place in the connection's list. */
typedef struct Prepared
{
	const PgStatement *statement;
	bool		known;			/* the server has it */
} Prepared;

/* What the server will answer, in order: a Parse of our own, or a step. */
typedef struct Expected
{
	int			step;			/* -1: of those ahead of the batch */
	int			prepared;		/* >= 0: answer to the preparation of this one */
} Expected;

struct PgConnection
{
	struct event_base *base;
	PgHosts    *hosts;			/* while connecting */
	PGconn	   *pg;
	const PgEvents *events;
	void	   *argument;
	struct event *socket_event;
	struct event *write_event;
	struct event *deadline;
	bool		connected;
	bool		kept;			/* the backend is ours: it has our statements */
	const PgStep *before;		/* ahead of each transaction */
	int			nbefore;
	bool		busy;
	bool		closing;		/* pg_close was called from a callback */
	int			depth;			/* callbacks under way */
	Prepared   *prepared;
	int			nprepared;
	Expected   *expected;
	int			nexpected;
	int			answered;
	PgResults	current;
	PgDone		done;
	void	   *done_argument;
};

static void start_attempt(PgConnection *connection);
static void limit_attempt(PgConnection *connection);
static bool try_others(PgConnection *connection);
static void connecting(evutil_socket_t socket, short what, void *argument);
static void await_socket(PgConnection *connection, short what);
static void established(PgConnection *connection);
static void readable(evutil_socket_t socket, short what, void *argument);
static void writable(evutil_socket_t socket, short what, void *argument);
static void overdue(evutil_socket_t socket, short what, void *argument);
static bool send_step(PgConnection *connection, const PgStep *step, int index);
static int	prepare_slot(PgConnection *connection, const PgStatement *statement);
static void expect(PgConnection *connection, int step, int prepared);
static void flush(PgConnection *connection);
static void take_results(PgConnection *connection);
static void take_result(PgConnection *connection, PGresult *result);
static void finish_batch(PgConnection *connection);
static void take_notifications(PgConnection *connection);
static void lose(PgConnection *connection, const char *reason);
static void release(PgConnection *connection);

/*
 * Begins to connect; events->connected or events->lost follows, never before
 * this returns.  conninfo is a libpq connection string, empty parts come from
 * the PG* environment.  The caller closes the connection in any case.
 */
PgConnection *
pg_connect(struct event_base *base, const char *conninfo, const char *application,
		   const PgEvents *events, void *argument)
{
	return pg_connect_as(base, conninfo, application, NULL, NULL, events, argument);
}

/*
 * The same as another role than conninfo names, with its password; user NULL: as
 * conninfo says.
 */
PgConnection *
pg_connect_as(struct event_base *base, const char *conninfo, const char *application,
			  const char *user, const char *password, const PgEvents *events, void *argument)
{
	PgConnection *connection = memory_zero(1, sizeof(*connection));

	connection->base = base;
	connection->events = events;
	connection->argument = argument;
	connection->current.failed_step = -1;
	connection->deadline = evtimer_new(base, overdue, connection);
	connection->hosts = pg_hosts_open(conninfo, application, user, password);
	start_attempt(connection);
	return connection;
}

static void
start_attempt(PgConnection *connection)
{
	struct timeval now = {0, 0};

	connection->pg = pg_hosts_start(connection->hosts);
	if (connection->pg != NULL && PQstatus(connection->pg) != CONNECTION_BAD)
	{
		limit_attempt(connection);
		await_socket(connection, EV_WRITE);
	}
	else
		/* report from the loop, when the caller has stored the connection */
		evtimer_add(connection->deadline, &now);
}

/* So long may the server that is tried say nothing. */
static void
limit_attempt(PgConnection *connection)
{
	long		patience = pg_hosts_patience_ms(connection->hosts);
	struct timeval limit = {patience / 1000, patience % 1000 * 1000};

	evtimer_add(connection->deadline, &limit);
}

/* The server that is tried hangs: whether there are others to try without it. */
static bool
try_others(PgConnection *connection)
{
	if (connection->hosts == NULL || !pg_hosts_leave_out(connection->hosts, connection->pg))
		return false;
	log_write(LEVEL_WARNING, NULL, "Database server {Server} does not answer, trying the others",
			  "Server", PQhost(connection->pg), NULL);
	event_free(connection->socket_event);
	connection->socket_event = NULL;
	PQfinish(connection->pg);
	start_attempt(connection);
	return true;
}

/* The backend serves nobody else: statements are prepared there from now on. */
void
pg_keep(PgConnection *connection)
{
	connection->kept = true;
}

/*
 * The backend serves others too: these steps go ahead of each transaction, and
 * what they set must end with it.  They must outlive the connection.
 */
void
pg_share(PgConnection *connection, const PgStep *before, int nbefore)
{
	connection->before = before;
	connection->nbefore = nbefore;
}

/* The process id of the backend, as whoever answered the connection gave it. */
int
pg_backend(const PgConnection *connection)
{
	return PQbackendPID(connection->pg);
}

/* Whether the server let the role in because of its password, and not on trust. */
bool
pg_asked_for_password(const PgConnection *connection)
{
	return PQconnectionUsedPassword(connection->pg) == 1;
}

/* Whether a batch may be given to the connection. */
bool
pg_idle(const PgConnection *connection)
{
	return connection->connected && !connection->busy && !connection->closing;
}

/*
 * Sends the steps as one batch; done is called with their results, or with
 * "lost" when the connection breaks or deadline_ms passes first.  Returns
 * false, and calls nothing, when the connection is not idle.
 */
bool
pg_run(PgConnection *connection, const PgStep *steps, int nsteps, long deadline_ms,
	   PgDone done, void *argument)
{
	struct timeval limit = {deadline_ms / 1000, deadline_ms % 1000 * 1000};
	bool		sent = true;

	if (!pg_idle(connection))
		return false;
	connection->busy = true;
	connection->done = done;
	connection->done_argument = argument;
	connection->nexpected = connection->answered = 0;
	connection->current.nsteps = nsteps;
	connection->current.results = memory_zero((size_t) nsteps, sizeof(PGresult *));
	connection->current.failed_step = -1;
	evtimer_add(connection->deadline, &limit);
	if (PQtransactionStatus(connection->pg) == PQTRANS_IDLE)
		for (int i = 0; i < connection->nbefore && sent; i++)
			sent = send_step(connection, &connection->before[i], -1);
	for (int i = 0; i < nsteps && sent; i++)
		sent = send_step(connection, &steps[i], i);
	if (!sent || !PQpipelineSync(connection->pg))
	{
		/* libpq gives up only on a broken connection; tell it from the loop */
		limit.tv_sec = 0;
		limit.tv_usec = 0;
		evtimer_add(connection->deadline, &limit);
		return true;
	}
	flush(connection);
	return true;
}

/* Closes and frees; a batch under way is forgotten without a call. */
void
pg_close(PgConnection *connection)
{
	if (connection == NULL)
		return;
	connection->closing = true;
	if (connection->depth == 0)
		release(connection);
}

/* Drives PQconnectPoll; the socket may be another one after each step. */
static void
connecting(evutil_socket_t socket, short what, void *argument)
{
	PgConnection *connection = argument;
	PostgresPollingStatusType status = PQconnectPoll(connection->pg);

	(void) socket;
	(void) what;

	if (pg_hosts_moved(connection->hosts, connection->pg))
		limit_attempt(connection);
	switch (status)
	{
		case PGRES_POLLING_READING:
			await_socket(connection, EV_READ);
			break;
		case PGRES_POLLING_WRITING:
			await_socket(connection, EV_WRITE);
			break;
		case PGRES_POLLING_OK:
			established(connection);
			break;
		default:
			lose(connection, PQerrorMessage(connection->pg));
			break;
	}
}

static void
await_socket(PgConnection *connection, short what)
{
	if (connection->socket_event)
		event_free(connection->socket_event);
	connection->socket_event = event_new(connection->base, PQsocket(connection->pg), what,
										 connecting, connection);
	event_add(connection->socket_event, NULL);
}

static void
established(PgConnection *connection)
{
	int			socket = PQsocket(connection->pg);

	evtimer_del(connection->deadline);
	pg_hosts_close(connection->hosts);
	connection->hosts = NULL;
	event_free(connection->socket_event);
	connection->socket_event = event_new(connection->base, socket, EV_READ | EV_PERSIST,
										 readable, connection);
	connection->write_event = event_new(connection->base, socket, EV_WRITE, writable, connection);
	event_add(connection->socket_event, NULL);
	if (PQsetnonblocking(connection->pg, 1) != 0 || !PQenterPipelineMode(connection->pg))
	{
		lose(connection, PQerrorMessage(connection->pg));
		return;
	}
	connection->connected = true;
	connection->depth++;
	connection->events->connected(connection->argument);
	connection->depth--;
	if (connection->closing)
		release(connection);
}

static void
readable(evutil_socket_t socket, short what, void *argument)
{
	PgConnection *connection = argument;

	(void) socket;
	(void) what;
	if (!PQconsumeInput(connection->pg))
	{
		lose(connection, PQerrorMessage(connection->pg));
		return;
	}
	connection->depth++;
	if (connection->busy)
	{
		/* input may have made room for output, see PQflush */
		flush(connection);
		take_results(connection);
	}
	if (!connection->closing)
		take_notifications(connection);
	connection->depth--;
	if (connection->closing && connection->depth == 0)
		release(connection);
}

static void
writable(evutil_socket_t socket, short what, void *argument)
{
	(void) socket;
	(void) what;
	flush(argument);
}

/* The deadline of a batch or of connecting has passed, or sending failed. */
static void
overdue(evutil_socket_t socket, short what, void *argument)
{
	PgConnection *connection = argument;

	(void) socket;
	(void) what;
	if (connection->pg == NULL || PQstatus(connection->pg) == CONNECTION_BAD)
		lose(connection, PQerrorMessage(connection->pg));
	else if (!try_others(connection))
		lose(connection, "no answer from the server in time");
}

/* Sends one step, preceded by its preparation when the server needs it. */
static bool
send_step(PgConnection *connection, const PgStep *step, int index)
{
	int			slot;
	char		name[16];
	int			formats[PG_PARAMETERS_MAX];
	const int  *format = step->lengths ? formats : NULL;
	int			result_format = step->statement->binary ? 1 : 0;

	for (int i = 0; format && i < step->statement->nparameters; i++)
		formats[i] = step->lengths[i] > 0;
	if (!connection->kept)
	{
		if (!PQsendQueryParams(connection->pg, step->statement->sql, step->statement->nparameters,
							   NULL, step->parameters, step->lengths, format, result_format))
			return false;
		expect(connection, index, -1);
		return true;
	}
	slot = prepare_slot(connection, step->statement);
	snprintf(name, sizeof(name), "s%d", slot);
	if (!connection->prepared[slot].known)
	{
		/* of several uses in one batch the first prepares */
		bool		underway = false;

		for (int i = 0; i < connection->nexpected; i++)
			underway |= connection->expected[i].prepared == slot;
		if (!underway)
		{
			if (!PQsendPrepare(connection->pg, name, step->statement->sql,
							   step->statement->nparameters, NULL))
				return false;
			expect(connection, index, slot);
		}
	}
	if (!PQsendQueryPrepared(connection->pg, name, step->statement->nparameters,
							 step->parameters, step->lengths, format, result_format))
		return false;
	expect(connection, index, -1);
	return true;
}

static int
prepare_slot(PgConnection *connection, const PgStatement *statement)
{
	for (int i = 0; i < connection->nprepared; i++)
		if (connection->prepared[i].statement == statement)
			return i;
	connection->prepared = realloc(connection->prepared,
								   sizeof(Prepared) * (size_t) (connection->nprepared + 1));
	if (connection->prepared == NULL)
		abort();
	connection->prepared[connection->nprepared] = (Prepared) {statement, false};
	return connection->nprepared++;
}

static void
expect(PgConnection *connection, int step, int prepared)
{
	int			n = connection->nexpected;

	/* grown by doubling: a power of two means full */
	if ((n & (n - 1)) == 0)
	{
		connection->expected = realloc(connection->expected,
									   sizeof(Expected) * (size_t) (n ? 2 * n : 2));
		if (connection->expected == NULL)
			abort();
	}
	connection->expected[connection->nexpected++] = (Expected) {step, prepared};
}

static void
flush(PgConnection *connection)
{
	int			left = PQflush(connection->pg);

	if (left > 0)
		event_add(connection->write_event, NULL);
	else if (left < 0)
	{
		/* reading will find the connection broken and report it */
		struct timeval now = {0, 0};

		evtimer_add(connection->deadline, &now);
	}
}

static void
take_results(PgConnection *connection)
{
	while (connection->busy && !connection->closing && !PQisBusy(connection->pg))
	{
		PGresult   *result = PQgetResult(connection->pg);

		if (result == NULL)
		{
			/* end of one statement's results; none left means a broken connection */
			if (connection->answered >= connection->nexpected)
				return;
			connection->answered++;
		}
		else if (PQresultStatus(result) == PGRES_PIPELINE_SYNC)
		{
			PQclear(result);
			finish_batch(connection);
		}
		else
			take_result(connection, result);
	}
}

/* Files a result under the statement it answers. */
static void
take_result(PgConnection *connection, PGresult *result)
{
	PgResults  *current = &connection->current;
	ExecStatusType status = PQresultStatus(result);
	Expected   *expected;

	if (connection->answered >= connection->nexpected)
	{
		PQclear(result);
		return;
	}
	expected = &connection->expected[connection->answered];
	if (status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE)
	{
		if (current->failed_step < 0)
		{
			current->failed_step = expected->step < 0 ? 0 : expected->step;
			current->error = result;
			return;
		}
	}
	else if (status == PGRES_PIPELINE_ABORTED)
		;						/* follows an error that is known already */
	else if (expected->prepared >= 0)
		connection->prepared[expected->prepared].known = true;
	else if (expected->step >= 0 && current->results[expected->step] == NULL)
	{
		current->results[expected->step] = result;
		return;
	}
	PQclear(result);
}

/* Hands the results to the caller, who may at once run the next batch. */
static void
finish_batch(PgConnection *connection)
{
	PgResults	results = connection->current;
	PgDone		done = connection->done;

	evtimer_del(connection->deadline);
	memset(&connection->current, 0, sizeof(connection->current));
	connection->current.failed_step = -1;
	connection->busy = false;
	connection->depth++;
	done(connection->done_argument, &results);
	connection->depth--;
	pg_results_clear(&results);
}

static void
take_notifications(PgConnection *connection)
{
	PGnotify   *notify;

	while (!connection->closing && (notify = PQnotifies(connection->pg)) != NULL)
	{
		if (connection->events->notified)
			connection->events->notified(connection->argument, notify->relname, notify->extra);
		PQfreemem(notify);
	}
}

/* The connection is gone: tells the batch under way, then the owner. */
static void
lose(PgConnection *connection, const char *reason)
{
	char		copy[256];

	copy_string(copy, sizeof(copy), reason && reason[0] ? reason : "connection closed");
	copy[strcspn(copy, "\n")] = '\0';
	utf8_repair(copy);			/* a refusal comes in the server's encoding */
	evtimer_del(connection->deadline);
	if (connection->socket_event)
		event_del(connection->socket_event);
	connection->connected = false;
	connection->depth++;
	if (connection->busy)
	{
		connection->current.lost = true;
		copy_string(connection->current.reason, sizeof(connection->current.reason), copy);
		finish_batch(connection);
	}
	if (!connection->closing)
		connection->events->lost(connection->argument, copy);
	connection->depth--;
	if (connection->closing && connection->depth == 0)
		release(connection);
}

static void
release(PgConnection *connection)
{
	struct event *events[] = {connection->socket_event, connection->write_event,
	connection->deadline};

	for (size_t i = 0; i < lengthof(events); i++)
		if (events[i])
			event_free(events[i]);
	if (connection->busy)
		pg_results_clear(&connection->current);
	PQfinish(connection->pg);
	pg_hosts_close(connection->hosts);
	free(connection->prepared);
	free(connection->expected);
	free(connection);
}
