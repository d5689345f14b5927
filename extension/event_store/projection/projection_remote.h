/*
 * projection_remote.h
 *		What is kept of a projection whose events come from another database.
 */
#ifndef ECOMMERCE_EVENT_STORE_PROJECTION_PROJECTION_REMOTE_H
#define ECOMMERCE_EVENT_STORE_PROJECTION_PROJECTION_REMOTE_H

#include "postgres.h"

#include "datatype/timestamp.h"

#include "event_store/projection/projection.h"

/* A row of event_store.projection_remote. */
typedef struct ProjectionRemote
{
	char	   *incarnation;	/* of the source, NULL: unknown */
	int64		head;			/* up to where the source has events, when it was last heard of */
	TimestampTz behind_since;	/* 0: it has handled everything up to there */
	char	   *error_code;		/* not NULL: lost, and why */
	char	   *error;
} ProjectionRemote;

extern bool remote_read(const Projection *projection, ProjectionRemote *remote);
extern void remote_heard(const Projection *projection, const ProjectionRemote *remote);
extern void remote_begin_anew(const char *name);
extern void remote_forget(const char *name);
extern void remote_refuse_local(const Projection *projection);
extern void remote_tell(void);

#endif
