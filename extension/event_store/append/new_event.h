/*
 * new_event.h
 *		Events to append, read from SQL arguments and checked.
 */
#ifndef ECOMMERCE_EVENT_STORE_APPEND_NEW_EVENT_H
#define ECOMMERCE_EVENT_STORE_APPEND_NEW_EVENT_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "utils/array.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

#define EVENTS_PER_APPEND_MAX 10000

typedef struct NewEvent
{
	text	   *event_type;
	Jsonb	   *data;
	Jsonb	   *metadata;		/* NULL: {} */
	bool		has_event_id;
	pg_uuid_t	event_id;
	bool		has_occurred_at;
	TimestampTz occurred_at;
	int32		schema_version; /* 0: the current one */
} NewEvent;

typedef struct NewEvents
{
	NewEvent   *events;
	int			count;
	bool		single;			/* one event given by itself: messages do not count it */
} NewEvents;

extern void new_events_from_array(ArrayType *array, NewEvents *events);
extern void new_events_from_json(Jsonb *json, NewEvents *events);
extern void new_event_version(NewEvent *event, int32 schema_version, int number);
extern void new_events_check(NewEvents *events);

#endif
