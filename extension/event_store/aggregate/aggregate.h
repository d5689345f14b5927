/*
 * aggregate.h
 *		Aggregates: what create_aggregate() and create_event_handler() defined, and
 *		folding a stream through it.
 */
#ifndef ECOMMERCE_EVENT_STORE_AGGREGATE_AGGREGATE_H
#define ECOMMERCE_EVENT_STORE_AGGREGATE_AGGREGATE_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "utils/jsonb.h"

#include "pg/callable.h"

/* How the events of one type change the state. */
typedef struct EventHandler
{
	text	   *event_type;
	Registration registration;
	Callable   *idle;
} EventHandler;

typedef struct Aggregate
{
	text	   *category;
	Jsonb	   *initial_state;
	int			snapshot_every; /* events; 0: no snapshots */
	int			handler_count;
	EventHandler *handlers;		/* sorted by event type */
	char	   *fingerprint;	/* of all that decides the state; NULL: not worked out yet */
} Aggregate;

/* As of when a state is wanted: each is NULL unless it matters. */
typedef struct AsOf
{
	const int64 *version;
	const TimestampTz *time;	/* that events occurred at */
	const TimestampTz *recorded;	/* that they were appended at */
} AsOf;

/* The state of a stream. */
typedef struct Fold
{
	Aggregate  *aggregate;
	Datum		state;			/* jsonb, palloc'd; meaningless at version 0 */
	int64		version;		/* of the last event folded, 0: none */
	TimestampTz created_at;		/* of the first event folded */
	TimestampTz updated_at;		/* of the last event folded */
	TimestampTz latest_at;		/* greatest of all events folded */
	int64		snapshot_version;	/* where folding began, 0: at the beginning */
	int64		stream_version; /* what the next save must expect; 0: no events, or deleted */
} Fold;

extern Aggregate *aggregate_find(const char *category, int length);
extern EventHandler *aggregate_handler(Aggregate *aggregate, const text *event_type);
extern char *aggregate_handler_registration(const text *category, const text *event_type);
extern const char *aggregate_fingerprint(Aggregate *aggregate);
extern MemoryContext aggregate_cache_context(void);

extern void aggregate_load(const char *stream, int length, const AsOf *as_of, Fold *fold);

#endif
