/*
 * statements.h
 *		The SQL that linkd sends.
 */
#ifndef SERVICES_LINK_STATEMENTS_H
#define SERVICES_LINK_STATEMENTS_H

#include "lib/pg.h"

/* At the target. */
extern const PgStatement sql_listen_links;	/* told when links change */
extern const PgStatement sql_listen_feeds;	/* and when projections of other databases do */
extern const PgStatement sql_links;			/* LinksColumn */
extern const PgStatement sql_load;			/* link: LoadColumn */
extern const PgStatement sql_hear;	/* link */
extern const PgStatement sql_accept;		/* link, lane, after, upto, messages, incarnation */
extern const PgStatement sql_lose;			/* link, lane, position, code, error */

extern const PgStatement sql_feeds;			/* FeedsColumn */
extern const PgStatement sql_load_feed;		/* projection: FeedColumn */
extern const PgStatement sql_apply_feed;	/* projection, after, events, upto, incarnation, head */
extern const PgStatement sql_lose_feed;		/* projection, position, code, error */

/* At the source. */
extern const PgStatement sql_lazily;		/* its commits need not wait for a disk */
extern const PgStatement sql_wait;	/* endpoint, how long; whether there is something */
extern const PgStatement sql_confirm;		/* endpoint, lanes, positions, incarnations */
extern const PgStatement sql_read;			/* the same, most messages: ReadColumn */
extern const PgStatement sql_check;			/* endpoint, lane, position, incarnation */

extern const PgStatement sql_read_feed;		/* after, most events, category, types, incarnation:
											 * ReadFeedColumn */

enum FeedsColumn
{
	FEEDS_NAME, FEEDS_SOURCE, FEEDS_CATEGORY
};

enum FeedColumn
{
	FEED_STATE, FEED_CHECKPOINT, FEED_TYPES, FEED_INCARNATION, FEED_RETRY_MS
};

enum ReadFeedColumn
{
	READ_FEED_UPTO, READ_FEED_HEAD, READ_FEED_COUNT, READ_FEED_EVENTS, READ_FEED_FROM
};

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
