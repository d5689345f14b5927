/*
 * projection_progress.h
 *		How far a projection is.
 */
#ifndef ECOMMERCE_EVENT_STORE_PROJECTION_PROJECTION_PROGRESS_H
#define ECOMMERCE_EVENT_STORE_PROJECTION_PROJECTION_PROGRESS_H

#include "postgres.h"

#include "event_store/projection/projection.h"

typedef enum RebuildStep
{
	REBUILD_NONE,
	REBUILD_REQUESTED,			/* of an inline projection: appends may not know of it yet */
	REBUILD_REPLAYING,			/* the tables are empty, the checkpoint has started anew; of an
								 * inline projection: until nothing is deferred any more */
	REBUILD_CLOSING				/* of an inline projection, beside: appends defer until the
								 * tables are brought over */
} RebuildStep;

/* A row of event_store.projection_progress. */
typedef struct ProjectionProgress
{
	int64		checkpoint;
	RebuildStep rebuild_step;
	int64		rebuild_until;	/* -1: not known yet */
	bool		paused;
	bool		failed;
	int			failures;
	TimestampTz retry_at;		/* 0: at once */
	int64		error_position; /* 0: none */
	char	   *last_error;		/* NULL: none */
	bool		of_rebuild;		/* beside the tables that are read, not of the projection */
} ProjectionProgress;

/* A projection whose handler is being given events, and the one outside of that. */
typedef struct ProgressInHand
{
	const char *name;
	struct ProgressInHand *outer;
} ProgressInHand;

extern bool progress_read(const Projection *projection, ProjectionProgress *progress);
extern bool progress_lock(const Projection *projection, bool wait, ProjectionProgress *progress);
extern void progress_take_in_hand(const Projection *projection, ProgressInHand *entry);
extern void progress_put_back(const ProgressInHand *entry);
extern void progress_write(const Projection *projection, const ProjectionProgress *progress);
extern bool progress_is_replaying(const ProjectionProgress *progress);
extern void progress_forget_error(ProjectionProgress *progress);
extern void progress_note_failure(const Projection *projection, ProjectionProgress *progress,
								  int64 position, const ErrorData *error);

#endif
