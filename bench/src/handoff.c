/*
 * handoff.c
 *	  How long after the commit of a send a waiting consumer has the message.
 *
 * Usage: [SENDER_DATABASE=name] handoff COUNT SEND WAIT TAKE DONE
 * One connection runs WAIT, a statement that returns when there may be something, and
 * then TAKE, whose first column is a receipt; without rows it waits again.  With the
 * first row the handler starts; DONE, in which %s is the receipt, ends it.  The other
 * connection runs SEND on an otherwise idle server, some milliseconds after that.  One
 * thread polls both, so all times are of one clock.  It prints in microseconds, at the
 * median and the 99th percentile,
 *	  from_commit: from the moment the sender hears of its commit to the handler's
 *		start, 0 where the consumer was faster than that;
 *	  from_send: from sending SEND, which holds the send and its commit as well;
 *	  late: where TAKE has a second column, the microseconds since 1970 at which the
 *		message was due, from then to the handler's start.
 */
#include "client.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct Consumer
{
	PGconn	   *conn;
	const char *wait;
	const char *take;
	const char *done;
	bool		taking;
	double		due;			/* of the message in hand; 0: it was not scheduled */
} Consumer;

static void
begin(PGconn *conn, const char *sql)
{
	if (!PQsendQuery(conn, sql))
		client_die("%s: %s", sql, PQerrorMessage(conn));
}

/* Reads all results of a connection's statement; the last one with rows is returned. */
static PGresult *
results_of(PGconn *conn)
{
	PGresult   *rows = NULL;
	PGresult   *result;

	while ((result = PQgetResult(conn)) != NULL)
	{
		ExecStatusType status = PQresultStatus(result);

		if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
			client_die("%s", PQerrorMessage(conn));
		if (status == PGRES_TUPLES_OK)
		{
			PQclear(rows);
			rows = result;
		}
		else
			PQclear(result);
	}
	return rows;
}

static bool
has_answer(PGconn *conn)
{
	if (!PQconsumeInput(conn))
		client_die("%s", PQerrorMessage(conn));
	return !PQisBusy(conn);
}

/* Goes on after an answer; the rows once there is a message, else NULL. */
static PGresult *
go_on(Consumer *consumer)
{
	PGresult   *rows = results_of(consumer->conn);

	if (consumer->taking && rows != NULL && PQntuples(rows) > 0)
		return rows;
	PQclear(rows);
	begin(consumer->conn, consumer->taking ? consumer->wait : consumer->take);
	consumer->taking = !consumer->taking;
	return NULL;
}

/* Ends a message and waits for the next one. */
static void
settle(Consumer *consumer, PGresult *rows)
{
	char		query[512];

	consumer->due = PQnfields(rows) > 1 ? atof(PQgetvalue(rows, 0, 1)) : 0;
	snprintf(query, sizeof(query), consumer->done, PQgetvalue(rows, 0, 0));
	PQclear(rows);
	client_command(consumer->conn, query);
	begin(consumer->conn, consumer->wait);
	consumer->taking = false;
}

static double
wall_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * 1e6 + now.tv_nsec / 1e3;
}

/* Sends one message and measures its times. */
static void
one_round(Consumer *consumer, PGconn *sender, double *from_commit, double *from_send, double *late)
{
	struct pollfd inputs[2] = {{.fd = PQsocket(consumer->conn), .events = POLLIN},
	{.fd = PQsocket(sender), .events = POLLIN}};
	struct timespec pause = {0, 5000000 + random() % 3000000};
	PGresult   *rows = NULL;
	double		sent;
	double		committed = 0;
	double		started = 0;
	double		started_wall = 0;

	/* The consumer must be asleep. */
	nanosleep(&pause, NULL);
	sent = client_now();
	if (!PQsendQueryPrepared(sender, "send", 0, NULL, NULL, NULL, 0))
		client_die("%s", PQerrorMessage(sender));
	while (committed == 0 || rows == NULL)
	{
		if (poll(inputs, 2, 30000) <= 0 || client_now() - sent > 30e6)
			client_die("nothing came for 30 s");
		if (inputs[1].revents && committed == 0 && has_answer(sender))
		{
			committed = client_now();
			PQclear(results_of(sender));
		}
		while (inputs[0].revents && rows == NULL && has_answer(consumer->conn))
			rows = go_on(consumer);
		if (rows != NULL && started == 0)
		{
			started = client_now();
			started_wall = wall_clock();
		}
	}
	*from_commit = started > committed ? started - committed : 0;
	*from_send = started - sent;
	settle(consumer, rows);
	*late = started_wall - consumer->due;
}

int
main(int argc, char **argv)
{
	int			count = argc == 6 ? atoi(argv[1]) : 0;
	Consumer	consumer = {0};
	PGconn	   *sender;
	PGresult   *result;
	double	   *from_commit;
	double	   *from_send;
	double	   *late;

	if (count < 1)
		client_die("usage: handoff COUNT SEND WAIT TAKE DONE");
	from_commit = calloc(count, sizeof(double));
	from_send = calloc(count, sizeof(double));
	late = calloc(count, sizeof(double));
	consumer.conn = client_connect();
	consumer.wait = argv[3];
	consumer.take = argv[4];
	consumer.done = argv[5];
	/* Elsewhere, if there is a way from there to here. */
	if (getenv("SENDER_DATABASE") != NULL)
		setenv("PGDATABASE", getenv("SENDER_DATABASE"), 1);
	sender = client_connect();
	result = PQprepare(sender, "send", argv[2], 0, NULL);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		client_die("%s", PQerrorMessage(sender));
	PQclear(result);
	begin(consumer.conn, consumer.wait);

	/* The first rounds fill caches. */
	for (int i = 0; i < 20; i++)
		one_round(&consumer, sender, &from_commit[0], &from_send[0], &late[0]);
	for (int i = 0; i < count; i++)
		one_round(&consumer, sender, &from_commit[i], &from_send[i], &late[i]);
	client_percentiles("from_commit", from_commit, count);
	client_percentiles("from_send", from_send, count);
	if (consumer.due != 0)
		client_percentiles("late", late, count);
	PQfinish(sender);
	PQfinish(consumer.conn);
	return 0;
}
