/*
 * projection.h
 *		Projections: handlers that events are given to, inside the append or in the
 *		background worker.
 */
#ifndef ECOMMERCE_EVENT_STORE_PROJECTION_PROJECTION_H
#define ECOMMERCE_EVENT_STORE_PROJECTION_PROJECTION_H

#include "postgres.h"

#include "datatype/timestamp.h"

#include "base/errors.h"
#include "event_store/read/read.h"
#include "event_store/stream/stream.h"
#include "pg/callable.h"
#include "pg/redirect.h"
#include "pg/subtransaction.h"
#include "pg/unit.h"

/* A definition, from table projection. */
typedef struct Projection
{
	char	   *name;
	Registration registration;	/* of the handler */
	bool		is_inline;
	bool		takes_batch;	/* the handler takes an array of events */
	bool		refuses;		/* an append fails with the handler, inside of it */
	EventFilter filter;
	char	   *tables;			/* as TRUNCATE takes them; NULL: none */
	char	   *source;			/* service that the events come from; NULL: this database */
	bool		is_beside;		/* new tables are being filled beside them */
	Callable   *idle;
	/* what this backend remembers, so that an idle look costs little */
	int64		seen;			/* no event of it lies above the checkpoint and up to here */
	TimestampTz written_at;		/* when the checkpoint was last moved over events of others */
	double		event_us;		/* microseconds that the handler took per event, 0: unknown */
} Projection;

/* Which events an attempt is about. */
typedef enum ProjectionSource
{
	SOURCE_RANGE,				/* those above after and up to upto that the filter admits */
	SOURCE_POSITIONS,			/* single ones */
	SOURCE_STREAM,				/* versions of a stream that the filter admits */
	SOURCE_BROUGHT				/* given by the caller, from another database */
} ProjectionSource;

/* One attempt to give events to a handler, in a subtransaction. */
typedef struct ProjectionRun
{
	Projection *projection;
	ProjectionSource source;
	int64		after;			/* positions, or versions of the stream */
	int64		upto;
	const int64 *positions;
	int			position_count;
	Datum	   *brought;		/* the events at those positions */
	const StreamName *stream;
	int			limit;			/* stop after so many events */
	bool		replaying;		/* these events have been given before */
	const Redirect *redirect;	/* where the handler's statements go; NULL: where they say */
	bool		whole;			/* not also when the turn's portion of time is over */
	/* what became of it */
	int			applied;
	int64		position;		/* of the event that the handler had last; 0: none */
	int			together;		/* events in the call that was made last */
	bool		exhausted;		/* there was no further event */
	int			passed;			/* single positions that are done with, in their order */
} ProjectionRun;

extern int	projection_count(void);
extern Projection *projection_get(int number);
extern Projection **projection_all(int *number);
extern Projection *projection_find(const char *name);
extern void projection_unknown(const char *name) pg_attribute_noreturn();
extern MemoryContext projection_cache_context(void);
extern char *projection_registration(const char *name);

extern bool projection_attempt(ProjectionRun *run, ErrorData **error);
extern void projection_give(ProjectionRun *run);
extern EventScan *projection_scan(const ProjectionRun *run, Snapshot snapshot);
extern char *projection_error_text(const ErrorData *error);
extern void projection_truncate(void *projection);

extern void projection_after_append(const StreamName *name, int64 first_version,
									int64 last_version);
extern void projection_after_deletion(const StreamName *name, const Event *deletion);

extern const UnitKind projection_units;
extern const UnitKind rebuild_units;

extern bool projection_has_event(Projection *projection, int64 after, int64 upto);
extern bool projection_any(void);
extern bool projection_is_table(Oid relation);

#endif
