/*
 * registration.h
 *		Users' code that was handed in to be run later, and who answers for it.
 *
 * Usage, for a row of a table that says what is registered:
 *		registration_init(&registration, registration_name("upcaster %s %d", ...),
 *						  signature, role);
 *		rights_take(registration_owner(&registration), &before);
 *		... registration_function(&registration) ...
 */
#ifndef ECOMMERCE_PG_REGISTRATION_H
#define ECOMMERCE_PG_REGISTRATION_H

#include "postgres.h"

typedef struct Registration
{
	const char *name;			/* of the function that stands for it */
	const char *signature;		/* of the user's function, as stored; NULL: a type */
	const char *role;			/* that answers for it, as stored */
	/* as last looked up */
	Oid			stand_in;		/* InvalidOid: there is none */
	Oid			owner;
	uint64		generation;
} Registration;

extern char *registration_name(const char *format, ...) pg_attribute_printf(1, 2);
extern void registration_store(const char *name, Oid function, Oid role);
extern void registration_store_type(const char *name, Oid type, Oid role);
extern void registration_remove(const char *name);

extern void registration_init(Registration *registration, const char *name,
							  const char *signature, Datum role);
extern Oid	registration_owner(Registration *registration);
extern Oid	registration_function(Registration *registration);
extern uint64 registration_generation(void);

#endif
