/*
 * units.h
 *		What the processes of a database know together about units in trouble.
 */
#ifndef ECOMMERCE_WORKER_UNITS_H
#define ECOMMERCE_WORKER_UNITS_H

#include "postgres.h"

#include "datatype/timestamp.h"

typedef struct UnitState
{
	bool		slow;			/* the slow runner's */
	TimestampTz retry_at;		/* put aside until then; 0: not */
} UnitState;

extern void units_request(void);
extern void units_attach(void);
extern void units_look(const char *kind, const char *name, UnitState *state);
extern bool units_any_slow(void);
extern void units_note_slow(const char *kind, const char *name);
extern bool units_note_quick(const char *kind, const char *name, bool worked);
extern TimestampTz units_note_failure(const char *kind, const char *name, const ErrorData *error,
									  bool *tell);

#endif
