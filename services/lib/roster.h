/*
 * roster.h
 *		What a daemon serves, as rows of its database say: opened, closed, and opened anew
 *		when its row changes.
 */
#ifndef SERVICES_LIB_ROSTER_H
#define SERVICES_LIB_ROSTER_H

#include <stdbool.h>
#include <event2/event.h>

#include "lib/pg.h"

/* The columns with which the statement begins. */
enum RosterColumn
{
	ROSTER_NAME,
	ROSTER_ALL,					/* says of any change */
	ROSTER_WANTED,				/* whether it is to be open */
	ROSTER_COLUMNS
};

typedef struct RosterOptions
{
	struct event_base *base;
	const char *conninfo;
	const char *application;
	const PgStep *setup;		/* must outlive the roster; LISTENs to changes */
	int			nsetup;
	const PgStatement *read;
	long		idle_ms;		/* look this often though nobody notifies */
	void	   *(*open) (const PgResults *results, int row);
	void		(*close) (void *item);
	const char *(*state) (const void *item);	/* "ok", or what is wrong */
	bool		(*drained) (void *item);	/* begins nothing more; whether all is done */
} RosterOptions;

typedef struct Roster Roster;

Roster	   *roster_open(const RosterOptions *options);
const char *roster_state(const Roster *roster);
int			roster_pending(Roster *roster);
void		roster_close(Roster *roster);

#endif
