/*
 * upcaster.h
 *		Calling upcasters with the rights of who registered them.
 */
#ifndef ECOMMERCE_EVENT_STORE_CONTRACT_UPCASTER_H
#define ECOMMERCE_EVENT_STORE_CONTRACT_UPCASTER_H

#include "postgres.h"

#include "utils/jsonb.h"

#include "pg/callable.h"
#include "pg/registration.h"
#include "pg/rights.h"

typedef struct Upcaster
{
	int32		from;			/* to the version after it */
	Registration registration;
	Callable   *idle;
} Upcaster;

/*
 * Many calls of upcasters, in between nobody's code but ours: what they need is taken
 * once.  All zero at first; whoever has it calls upcasting_end() at the end.
 */
typedef struct Upcasting
{
	Oid			role;			/* InvalidOid: nothing is taken */
	Rights		before;
} Upcasting;

extern Jsonb *upcaster_apply(Upcaster *upcaster, Jsonb *data, Upcasting *many,
							 MemoryContext home);
extern void upcasting_end(Upcasting *many);

#endif
