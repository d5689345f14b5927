/*
 * projection_beside.h
 *		Rebuilds that fill tables beside those that are read.
 */
#ifndef ECOMMERCE_EVENT_STORE_PROJECTION_PROJECTION_BESIDE_H
#define ECOMMERCE_EVENT_STORE_PROJECTION_PROJECTION_BESIDE_H

#include "postgres.h"

#include "event_store/projection/projection.h"
#include "event_store/projection/projection_progress.h"

/* A row of event_store.projection_rebuild, and the tables it is about. */
typedef struct Beside
{
	ProjectionProgress progress;	/* what of it concerns a rebuild */
	Redirect	redirect;		/* from the projection's tables to those beside */
	char	  **names;			/* of those beside */
} Beside;

extern bool beside_read(const Projection *projection, Beside *beside);
extern bool beside_lock(const Projection *projection, bool wait, Beside *beside);
extern void beside_write(const Projection *projection, const Beside *beside);
extern bool beside_skip(const Projection *projection, int64 position);
extern bool beside_cancel(Projection *projection);
extern void beside_make(Projection *projection, text *names, Beside *beside);
extern void beside_bring_over(Projection *projection, const Beside *beside, bool stream_only);

extern int	beside_run_by_hand(Projection *projection, int max);

#endif
