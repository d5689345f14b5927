/*
 * client.c
 *	  What the benchmark's client programs share.
 */
#include "client.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

volatile bool client_stop = false;

static void
stop_handler(int signal_number)
{
	(void) signal_number;
	client_stop = true;
}

void
client_on_stop(void)
{
	struct sigaction action;

	/* Without SA_RESTART, so that poll() returns. */
	memset(&action, 0, sizeof(action));
	action.sa_handler = stop_handler;
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
}

void
client_die(const char *format, ...)
{
	va_list		arguments;

	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	exit(1);
}

PGconn *
client_connect(void)
{
	PGconn	   *conn = PQconnectdb("");

	if (PQstatus(conn) != CONNECTION_OK)
		client_die("%s", PQerrorMessage(conn));
	return conn;
}

PGresult *
client_query(PGconn *conn, const char *sql)
{
	PGresult   *result = PQexec(conn, sql);
	ExecStatusType status = PQresultStatus(result);

	if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
		client_die("%s: %s", sql, PQerrorMessage(conn));
	return result;
}

void
client_command(PGconn *conn, const char *sql)
{
	PQclear(client_query(conn, sql));
}

bool
client_wait(PGconn *conn, int timeout_ms)
{
	struct pollfd input = {.fd = PQsocket(conn), .events = POLLIN};
	int			ready = poll(&input, 1, timeout_ms);

	if (ready < 0 && errno != EINTR)
		client_die("poll: %s", strerror(errno));
	return ready > 0 && !client_stop;
}

double
client_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1e6 + now.tv_nsec / 1e3;
}

static int
compare_doubles(const void *a, const void *b)
{
	double		x = *(const double *) a;
	double		y = *(const double *) b;

	return (x > y) - (x < y);
}

void
client_percentiles(const char *name, double *values, int count)
{
	qsort(values, count, sizeof(double), compare_doubles);
	printf("%s_p50 %.1f\n", name, values[count / 2]);
	printf("%s_p99 %.1f\n", name, values[count * 99 / 100]);
}
