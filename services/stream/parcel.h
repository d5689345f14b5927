/*
 * parcel.h
 *		Events on their way, and the place where a target is once it has them.
 */
#ifndef SERVICES_STREAM_PARCEL_H
#define SERVICES_STREAM_PARCEL_H

#include <jansson.h>
#include <stdbool.h>

#include "lib/pg.h"

/* How far a target is: kept there, in one piece with the events. */
typedef struct Place
{
	bool		known;			/* it has something of this sink */
	long long	generation;
	long long	position;		/* all events up to here are there */
	char		incarnation[160];	/* of the database that gave it, "" when none has yet */
} Place;

typedef struct Parcel
{
	json_t	   *events;			/* as event_store.read_sink() gives them */
	int			count;
	Place		place;			/* after all of them */
} Parcel;

bool		parcel_load(Parcel *parcel, const Place *before, const PgResults *results, int step);
void		parcel_clear(Parcel *parcel);

/* Of an event. */
const char *event_text(const json_t *event, const char *name);
long long	event_position(const json_t *event);

/* A place as text; the text is the caller's. */
char	   *place_text(const Place *place, const char *sink);
bool		place_parse(Place *place, const char *sink, const char *text, size_t length,
						char *error, size_t size);

#endif
