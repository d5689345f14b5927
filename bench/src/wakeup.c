/*
 * wakeup.c
 *	  How long after a commit a waiting consumer wakes up.
 *
 * Usage: wakeup call|notify COUNT
 * One connection waits, by CALL event_store.wait or by LISTEN, on an idle server;
 * the other one appends an event, alone, some milliseconds later.  One thread polls
 * both, so all times are of one clock.  It prints
 *	  from_commit: from the moment the appender hears of its commit to the wake-up,
 *		0 where the waiter was faster than that;
 *	  from_send: from sending the append to the wake-up, which holds the append and
 *		its flush as well and is therefore an upper bound of the above.
 * in microseconds, at the median and the 99th percentile.
 */
#include "client.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct Waiter
{
	PGconn	   *conn;
	bool		call;
	char		mark[32];		/* high-water mark that was seen last */
} Waiter;

/* Makes the waiter wait for what comes after its mark. */
static void
begin_wait(Waiter *waiter)
{
	char		query[128];

	if (!waiter->call)
		return;
	snprintf(query, sizeof(query), "CALL event_store.wait(%s, '10 s')", waiter->mark);
	if (!PQsendQuery(waiter->conn, query))
		client_die("%s", PQerrorMessage(waiter->conn));
}

/* Reads what has come; true once the waiter has woken up. */
static bool
has_woken(Waiter *waiter)
{
	PGresult   *result;
	PGnotify   *notification;
	bool		woken = false;

	if (!PQconsumeInput(waiter->conn))
		client_die("%s", PQerrorMessage(waiter->conn));
	if (!waiter->call)
	{
		while ((notification = PQnotifies(waiter->conn)) != NULL)
		{
			woken = true;
			PQfreemem(notification);
		}
		return woken;
	}
	if (PQisBusy(waiter->conn))
		return false;
	while ((result = PQgetResult(waiter->conn)) != NULL)
	{
		if (PQresultStatus(result) != PGRES_TUPLES_OK)
			client_die("wait: %s", PQerrorMessage(waiter->conn));
		snprintf(waiter->mark, sizeof(waiter->mark), "%s", PQgetvalue(result, 0, 0));
		PQclear(result);
	}
	return true;
}

/* True once the append's answer has come. */
static bool
has_committed(PGconn *conn)
{
	PGresult   *result;

	if (!PQconsumeInput(conn))
		client_die("%s", PQerrorMessage(conn));
	if (PQisBusy(conn))
		return false;
	while ((result = PQgetResult(conn)) != NULL)
	{
		if (PQresultStatus(result) != PGRES_TUPLES_OK)
			client_die("append: %s", PQerrorMessage(conn));
		PQclear(result);
	}
	return true;
}

/* Appends one event and measures the two times. */
static void
one_round(Waiter *waiter, PGconn *appender, double *from_commit, double *from_send)
{
	struct pollfd inputs[2] = {{.fd = PQsocket(waiter->conn), .events = POLLIN},
	{.fd = PQsocket(appender), .events = POLLIN}};
	struct timespec pause = {0, 5000000 + random() % 3000000};
	double		sent;
	double		committed = 0;
	double		woken = 0;

	begin_wait(waiter);
	/* The waiter must be asleep, and the notifier's interval over. */
	nanosleep(&pause, NULL);
	sent = client_now();
	if (!PQsendQueryPrepared(appender, "append", 0, NULL, NULL, NULL, 0))
		client_die("%s", PQerrorMessage(appender));
	while (committed == 0 || woken == 0)
	{
		if (poll(inputs, 2, 10000) <= 0)
			client_die("nothing came for 10 s");
		if (inputs[1].revents && committed == 0 && has_committed(appender))
			committed = client_now();
		if (inputs[0].revents && woken == 0 && has_woken(waiter))
			woken = client_now();
	}
	*from_commit = woken > committed ? woken - committed : 0;
	*from_send = woken - sent;
}

int
main(int argc, char **argv)
{
	Waiter		waiter = {0};
	PGconn	   *appender;
	PGresult   *result;
	int			count = argc == 3 ? atoi(argv[2]) : 0;
	double	   *from_commit;
	double	   *from_send;

	if (count < 1)
		client_die("usage: wakeup call|notify COUNT");
	waiter.call = strcmp(argv[1], "call") == 0;
	from_commit = calloc(count, sizeof(double));
	from_send = calloc(count, sizeof(double));
	waiter.conn = client_connect();
	appender = client_connect();
	result = PQprepare(appender, "append",
					   "SELECT event_store.append('order-wakeup', -1, 'Woken', '{}')", 0, NULL);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		client_die("%s", PQerrorMessage(appender));
	PQclear(result);
	if (!waiter.call)
		client_command(waiter.conn, "LISTEN event_store");
	result = client_query(waiter.conn, "SELECT event_store.high_water_mark()");
	snprintf(waiter.mark, sizeof(waiter.mark), "%s", PQgetvalue(result, 0, 0));
	PQclear(result);

	/* The first rounds fill caches. */
	for (int i = 0; i < 20; i++)
		one_round(&waiter, appender, &from_commit[0], &from_send[0]);
	for (int i = 0; i < count; i++)
		one_round(&waiter, appender, &from_commit[i], &from_send[i]);
	client_percentiles("from_commit", from_commit, count);
	client_percentiles("from_send", from_send, count);
	PQfinish(appender);
	PQfinish(waiter.conn);
	return 0;
}
