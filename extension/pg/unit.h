/*
 * unit.h
 *		What a module wants the database's runners to do for it: users' functions.
 *
 * A unit is something that has its own progress, which one fault must not take
 * from others: a saga's endpoint, a projection.  A runner gives each unit a turn
 * after the other.  A turn runs in a transaction that the runner has begun and
 * commits, does a portion (see limit.h) and says whether there is more.  An error
 * undoes the turn and puts this unit aside for a while, no other.
 */
#ifndef ECOMMERCE_PG_UNIT_H
#define ECOMMERCE_PG_UNIT_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

typedef struct UnitTurn
{
	const char *name;
	bool		only_messages;	/* by a helper, who leaves timers to the runner */
	int			portion;		/* so many pieces suit the time; the unit keeps it up to date */
	/* what became of it */
	bool		worked;			/* there was something to do */
	bool		more;			/* there may be more to do at once */
	TimestampTz due;			/* or then; WAKEUP_NEVER */
	uint32		wakes;			/* or when woken for this: bits of log/wakeup.h */
} UnitTurn;

typedef struct UnitKind
{
	const char *name;
	List	   *(*list) (MemoryContext context);	/* of char *, in that context */
	void		(*run) (UnitTurn *turn);
} UnitKind;

#endif
