/*
 * projection_turn.h
 *		What turns of projections and of their rebuilds have in common.
 */
#ifndef ECOMMERCE_EVENT_STORE_PROJECTION_PROJECTION_TURN_H
#define ECOMMERCE_EVENT_STORE_PROJECTION_PROJECTION_TURN_H

#include "postgres.h"

#include "event_store/projection/projection.h"
#include "event_store/projection/projection_progress.h"

/* What is asked again when somebody is in the way, in milliseconds. */
#define ASK_AGAIN 50

/* What a look at a projection found out. */
typedef struct Outlook
{
	int			handled;		/* events, failures included */
	bool		more;			/* there may be more to do at once */
	TimestampTz due;			/* or then */
} Outlook;

extern void batch_begin(UnitTurn *turn);
extern Projection *batch_projection(const char *name);
extern bool batch_attempt(ProjectionRun *run, ProjectionProgress *progress, Outlook *outlook);
extern int	batch_limit(const Projection *projection, int max);
extern void batch_due_in(Outlook *outlook, int milliseconds);

#endif
