/*
 * intake.h
 *		Messages that come from outside, with the envelopes that they have.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_LINK_INTAKE_H
#define ECOMMERCE_MESSAGE_BUS_LINK_INTAKE_H

#include "postgres.h"

#include "access/tupdesc.h"

/* What is to be taken, and for whom. */
typedef struct Intake
{
	const char *target;			/* endpoint; NULL: published */
	const char *source;			/* what is added to header via */
	const char *own_endpoint;	/* name and number of that of the link or bridge, for */
	int32		own_endpoint_id;	/* dead letters that no other one could get */
	Datum	   *messages;		/* rows of message_bus.message */
	int			count;
	TupleDesc	descriptor;		/* of one */
	int			current;		/* the one that is taken alone */
} Intake;

extern void intake_commit_durably(void);
extern int	intake_take(Intake *intake);
extern bool intake_may_go_better(const ErrorData *error);
extern void intake_bury(const Intake *intake, const ErrorData *error);

#endif
