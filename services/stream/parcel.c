/*
 * parcel.c
 *		Events on their way, and the place where a target is once it has them.
 */
#include "stream/parcel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/text.h"
#include "stream/statements.h"

/* Takes what sql_read gave; false if that cannot be understood. */
bool
parcel_load(Parcel *parcel, const Place *before, const PgResults *results, int step)
{
	parcel_clear(parcel);
	parcel->events = json_loads(pg_value(results, step, 0, READ_EVENTS), 0, NULL);
	parcel->count = atoi(pg_value(results, step, 0, READ_COUNT));
	parcel->place = (Place) {
		.known = before->known || parcel->count > 0, .generation = before->generation,
		.position = strtoll(pg_value(results, step, 0, READ_UPTO), NULL, 10)
	};
	copy_string(parcel->place.incarnation, sizeof(parcel->place.incarnation),
				pg_value(results, step, 0, READ_FROM));
	return json_array_size(parcel->events) == (size_t) parcel->count;
}

void
parcel_clear(Parcel *parcel)
{
	json_decref(parcel->events);
	*parcel = (Parcel) {0};
}

const char *
event_text(const json_t *event, const char *name)
{
	const char *text = json_string_value(json_object_get(event, name));

	return text ? text : "";
}

long long
event_position(const json_t *event)
{
	return json_integer_value(json_object_get(event, "position"));
}

char *
place_text(const Place *place, const char *sink)
{
	json_t	   *value = json_pack("{s:s, s:I, s:I, s:s}", "sink", sink, "generation",
								  (json_int_t) place->generation, "position",
								  (json_int_t) place->position, "incarnation",
								  place->incarnation);
	char	   *text = json_dumps(value, JSON_COMPACT);

	json_decref(value);
	return text;
}

/* False, and why, if that is no place of this sink. */
bool
place_parse(Place *place, const char *sink, const char *text, size_t length, char *error,
			size_t size)
{
	json_t	   *value = json_loadb(text, length, 0, NULL);
	const char *theirs = NULL;
	const char *incarnation = NULL;
	json_int_t	generation;
	json_int_t	position;
	bool		good;

	good = json_unpack(value, "{s:s, s:I, s:I, s:s}", "sink", &theirs, "generation",
					   &generation, "position", &position, "incarnation", &incarnation) == 0 &&
		strcmp(theirs, sink) == 0;
	*place = (Place) {.known = good};
	if (good)
	{
		place->generation = generation;
		place->position = position;
		copy_string(place->incarnation, sizeof(place->incarnation), incarnation);
	}
	else
		snprintf(error, size, "what is there last is not from this sink, but from %.60s",
				 theirs ? theirs : "somebody else");
	json_decref(value);
	return good;
}
