/*
 * statements.h
 *		The SQL that streamd sends.
 */
#ifndef SERVICES_STREAM_STATEMENTS_H
#define SERVICES_STREAM_STATEMENTS_H

#include "lib/pg.h"
#include "lib/roster.h"

extern const PgStatement sql_listen_sinks;	/* told when sinks change */
extern const PgStatement sql_sinks; /* SinksColumn */
/* What is lost of its notes is noted again; who is silent does not keep others waiting. */
extern const PgStatement sql_lazily;
extern const PgStatement sql_claim; /* sink: SinkColumn */
extern const PgStatement sql_read;	/* sink, after, most events, incarnation: ReadColumn */
extern const PgStatement sql_note;	/* sink, generation, position, lost, error */

enum SinksColumn
{
	SINKS_KIND = ROSTER_COLUMNS, SINKS_OPTIONS, SINKS_CATEGORY
};

enum SinkColumn
{
	SINK_CLAIMED, SINK_STATE, SINK_GENERATION, SINK_STARTS_AFTER, SINK_POSITION
};

enum ReadColumn
{
	READ_UPTO, READ_HEAD, READ_COUNT, READ_EVENTS, READ_FROM
};

#endif
