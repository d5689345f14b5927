/*
 * consume.c
 *	  A live consumer of a persistent subscription, until stopped.
 *
 * Usage: consume SUBSCRIPTION
 * Waits for the store to grow, takes batches and moves the checkpoint, each batch
 * in a transaction that is flushed as a consumer with side effects would have it.
 */
#include "client.h"

#include <stdio.h>
#include <stdlib.h>

/* Takes one batch; returns the number of events and the mark reached. */
static int
take(PGconn *conn, const char *name, char *mark, size_t size)
{
	const char *values[] = {name, mark};
	PGresult   *result;
	int			count;

	client_command(conn, "BEGIN");
	result = PQexecParams(conn, "SELECT position FROM event_store.fetch($1, 1000)",
						  1, NULL, values, NULL, NULL, 0);
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		client_die("fetch: %s", PQerrorMessage(conn));
	count = PQntuples(result);
	if (count > 0)
		snprintf(mark, size, "%s", PQgetvalue(result, count - 1, 0));
	PQclear(result);
	if (count > 0)
	{
		result = PQexecParams(conn, "SELECT event_store.advance($1, $2::bigint)",
							  2, NULL, values, NULL, NULL, 0);
		if (PQresultStatus(result) != PGRES_TUPLES_OK)
			client_die("advance: %s", PQerrorMessage(conn));
		PQclear(result);
	}
	client_command(conn, "COMMIT");
	return count;
}

int
main(int argc, char **argv)
{
	PGconn	   *conn;
	char		mark[32] = "0";
	long		events = 0;
	long		batches = 0;

	if (argc != 2)
		client_die("usage: consume SUBSCRIPTION");
	client_on_stop();
	conn = client_connect();
	printf("ready\n");
	fflush(stdout);
	while (!client_stop)
	{
		char		query[128];
		int			count;

		snprintf(query, sizeof(query), "CALL event_store.wait(%s, '100 ms')", mark);
		client_command(conn, query);
		while ((count = take(conn, argv[1], mark, sizeof(mark))) > 0)
		{
			events += count;
			batches++;
		}
	}
	printf("events %ld\nbatches %ld\n", events, batches);
	PQfinish(conn);
	return 0;
}
