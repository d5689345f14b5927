/*
 * statements.h
 *		The SQL that bridged sends.
 */
#ifndef SERVICES_BRIDGE_STATEMENTS_H
#define SERVICES_BRIDGE_STATEMENTS_H

#include "lib/pg.h"
#include "lib/roster.h"

extern const PgStatement sql_listen_bridges;	/* told when bridges change */
extern const PgStatement sql_bridges;	/* BridgesColumn */
extern const PgStatement sql_claim; /* bridge; who gets it is heard of */
extern const PgStatement sql_hear;	/* bridge: inwards */
/* What is lost of its commits is done again; who is silent does not keep others waiting. */
extern const PgStatement sql_lazily;
extern const PgStatement sql_read;	/* bridge, most messages: ReadColumn */
extern const PgStatement sql_wait;	/* endpoint, how long: whether something came */
extern const PgStatement sql_settle;	/* endpoint; lanes, positions and errors of what was
										 * refused; lanes and positions of what has arrived */
extern const PgStatement sql_accept;	/* bridge, envelopes: AcceptColumn */

enum BridgesColumn
{
	BRIDGES_BROKER = ROSTER_COLUMNS, BRIDGES_ENDPOINT, BRIDGES_QUEUE, BRIDGES_UNROUTABLE,
	BRIDGES_TOPOLOGY
};

enum ReadColumn
{
	READ_LANE, READ_POSITION, READ_ENVELOPE
};

enum AcceptColumn
{
	ACCEPT_ACCEPTED, ACCEPT_REPEATED, ACCEPT_REFUSED
};

#endif
