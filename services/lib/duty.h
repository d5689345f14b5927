/*
 * duty.h
 *		Things to be done from time to time, each by a SQL function.
 */
#ifndef SERVICES_LIB_DUTY_H
#define SERVICES_LIB_DUTY_H

#include "lib/pool.h"

/* fn() RETURNS int, the rows worked on; the table ends with a NULL name. */
typedef struct Duty
{
	const char *name;
	const char *function;
	long		interval_ms;
} Duty;

typedef struct DutyRoster DutyRoster;

DutyRoster *duty_start(struct event_base *base, Pool *pool, const Duty *duties);
void		duty_drain(DutyRoster *roster);
int			duty_pending(const DutyRoster *roster);
void		duty_stop(DutyRoster *roster);

#endif
