/*
 * duty.h
 *		What a module wants a database's background worker to do for it.
 *
 * The worker calls run whenever it has been woken for one of the reasons the
 * duty asked for, or when its due time has come, or for any other duty's sake:
 * a duty finds out by itself whether there is something to do, cheaply.  It runs
 * outside a transaction and starts its own, with extension_begin_transaction();
 * an error undoes that and puts the duty aside for a while, no other (protect.h).
 */
#ifndef ECOMMERCE_PG_DUTY_H
#define ECOMMERCE_PG_DUTY_H

#include "postgres.h"

#include "datatype/timestamp.h"

typedef struct DutyWish
{
	TimestampTz due;			/* call again at this time at the latest; WAKEUP_NEVER */
	uint32		wakes;			/* bits of log/wakeup.h */
} DutyWish;

typedef struct Duty
{
	const char *name;
	void		(*run) (DutyWish *wish);
} Duty;

#endif
