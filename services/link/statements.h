/*
 * statements.h
 *		The SQL that linkd sends.
 */
#ifndef SERVICES_LINK_STATEMENTS_H
#define SERVICES_LINK_STATEMENTS_H

#include "lib/pg.h"

/* At the target. */
extern const PgStatement sql_listen_links;	/* told when links change */
extern const PgStatement sql_links;			/* LinksColumn */
extern const PgStatement sql_load;			/* link: LoadColumn */
extern const PgStatement sql_accept;		/* link, lane, after, upto, messages, incarnation */
extern const PgStatement sql_lose;			/* link, lane, position, code, error */

/* At the source. */
extern const PgStatement sql_lazily;		/* its commits need not wait for a disk */
extern const PgStatement sql_confirm;		/* endpoint, lanes, positions, incarnations */
extern const PgStatement sql_read;			/* the same, most messages: ReadColumn */
extern const PgStatement sql_check;			/* endpoint, lane, position, incarnation */

enum LinksColumn
{
	LINKS_NAME, LINKS_SOURCE, LINKS_ENDPOINT
};

enum LoadColumn
{
	LOAD_PAUSED, LOAD_LANE, LOAD_POSITION, LOAD_INCARNATION, LOAD_LOST
};

enum ReadColumn
{
	READ_LANE, READ_COUNT, READ_UPTO, READ_MESSAGES, READ_INCARNATION
};

#endif
