/*
 * session.h
 *		A connection to PostgreSQL that comes back: setup statements after each
 *		connect, reconnection with jittered back-off after each loss.
 *
 * Behind a connection pooler there is no setup, which would stay with others
 * who get the same backend; what the transactions need goes with each of them.
 */
#ifndef SERVICES_LIB_SESSION_H
#define SERVICES_LIB_SESSION_H

#include "lib/pg.h"

typedef struct SessionOptions
{
	struct event_base *base;
	const char *conninfo;
	const char *application;
	const PgStep *setup;		/* must outlive the session, as what follows */
	int			nsetup;
	const PgStep *transaction;	/* in a backend shared with others, ahead of each */
	int			ntransaction;
	void		(*ready) (void *argument);
	void		(*lost) (void *argument);
	void		(*notified) (void *argument);
	void	   *argument;
} SessionOptions;

typedef EcommerceSession Session;

Session    *session_open(const SessionOptions *options);
bool		session_ready(const Session *session);
bool		session_shared(const Session *session);
bool		session_run(Session *session, const PgStep *steps, int nsteps, long deadline_ms,
						PgDone done, void *argument);
void		session_renew(Session *session);
void		session_reset(Session *session);
void		session_close(Session *session);

#endif
