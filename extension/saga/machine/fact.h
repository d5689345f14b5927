/*
 * fact.h
 *		The records of facts inside a saga's data.
 */
#ifndef ECOMMERCE_SAGA_MACHINE_FACT_H
#define ECOMMERCE_SAGA_MACHINE_FACT_H

#include "saga/definition/definition.h"

typedef struct Growth
{
	Tree	   *data;			/* with the record as it is now */
	int			from;			/* statuses; equal if it did not move */
	int			to;
	bool		grew;			/* something is known that was not known before */
	bool		conflict;		/* the lattice does not allow it */
} Growth;

extern List *fact_records(const Tree *data, const Fact *fact);
extern Tree *fact_find(const Tree *data, const Fact *fact, const char *key);
extern Tree *fact_latest(const Tree *data, const Fact *fact);
extern int	fact_status(const Fact *fact, const Tree *record);

extern Growth fact_hear(Tree *data, const Fact *fact, const FactChange *change,
						const char *key, Document *document);
extern Growth fact_do(Tree *data, const Fact *fact, int to, Tree *record, Tree *set);

#endif
