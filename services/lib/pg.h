/*
 * pg.h
 *		One connection to PostgreSQL that never blocks the event loop.
 *
 * The only door to libpq.  A caller hands over a batch of statements; it goes
 * to the server in one piece (pipeline mode) and the results come back
 * together.  Without BEGIN of its own a batch is one transaction.  A statement
 * that fails skips the rest of its batch.
 *
 * A connection pooler may give each transaction another backend, which serves
 * others before and after.  Until pg_keep says that the backend is ours, nothing
 * is left in it.
 */
#ifndef SERVICES_LIB_PG_H
#define SERVICES_LIB_PG_H

#include <stdbool.h>
#include <event2/event.h>

#include "lib/ecommerce.h"

/* Known to the connection by its address: static, or kept until it closes. */
typedef EcommerceStatement PgStatement;
/* parameters need not outlive pg_run; with lengths there are at most PG_PARAMETERS_MAX */
typedef EcommerceStep PgStep;
#define PG_PARAMETERS_MAX 16
typedef EcommerceResults PgResults;
typedef EcommerceDone PgDone;
typedef struct PgConnection PgConnection;

/* Calls up; each may close the connection. */
typedef struct PgEvents
{
	void		(*connected) (void *argument);
	void		(*lost) (void *argument, const char *reason);
	void		(*notified) (void *argument, const char *channel, const char *payload);
} PgEvents;

PgConnection *pg_connect(struct event_base *base, const char *conninfo, const char *application,
						 const PgEvents *events, void *argument);
PgConnection *pg_connect_as(struct event_base *base, const char *conninfo,
							const char *application, const char *user, const char *password,
							const PgEvents *events, void *argument);
bool		pg_asked_for_password(const PgConnection *connection);
bool		pg_run(PgConnection *connection, const PgStep *steps, int nsteps, long deadline_ms,
				   PgDone done, void *argument);
void		pg_keep(PgConnection *connection);
void		pg_share(PgConnection *connection, const PgStep *before, int nbefore);
int			pg_backend(const PgConnection *connection);
bool		pg_idle(const PgConnection *connection);
void		pg_close(PgConnection *connection);

/* What came back.  Valid until the PgDone callback returns. */
bool		pg_succeeded(const PgResults *results);
bool		pg_lost(const PgResults *results);
int			pg_failed_step(const PgResults *results);
const char *pg_sqlstate(const PgResults *results);
const char *pg_message(const PgResults *results);
const char *pg_detail(const PgResults *results);
const char *pg_hint(const PgResults *results);
int			pg_rows(const PgResults *results, int step);
const char *pg_value(const PgResults *results, int step, int row, int column);
int			pg_length(const PgResults *results, int step, int row, int column);

#endif
