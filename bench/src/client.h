/*
 * client.h
 *	  What the benchmark's client programs share.
 *
 * They connect by the PG* environment, end on the first error, and print their
 * results as lines of "metric value".
 */
#ifndef BENCH_CLIENT_H
#define BENCH_CLIENT_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

/* Set by SIGTERM and SIGINT once client_on_stop() was called. */
extern volatile bool client_stop;
extern void client_on_stop(void);

extern void client_die(const char *format, ...)
	__attribute__((format(printf, 1, 2), noreturn));
extern PGconn *client_connect(void);

/* Runs a statement and checks its status; the caller clears the result. */
extern PGresult *client_query(PGconn *conn, const char *sql);

/* The same, for statements whose result does not matter. */
extern void client_command(PGconn *conn, const char *sql);

/* Waits for input of the connection; false when stopped or at the timeout. */
extern bool client_wait(PGconn *conn, int timeout_ms);

/* Wall clock in microseconds, for differences only. */
extern double client_now(void);

/* Sorts the values and prints "NAME_p50" and "NAME_p99". */
extern void client_percentiles(const char *name, double *values, int count);

#endif
