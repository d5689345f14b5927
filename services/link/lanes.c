/*
 * lanes.c
 *		How far the lanes of a link are, as this process knows, and as parameters.
 *
 * A copy of what the target has committed; thrown away whenever it may not be true any
 * more.
 */
#include "link/lanes.h"

#include <stdlib.h>
#include <string.h>

static void begin(LaneArrays *arrays);
static void add(LaneArrays *arrays, int number, const Lane *lane);
static void end(LaneArrays *arrays);

/* As if nothing had ever been brought. */
void
lanes_forget(Lanes *lanes)
{
	for (int i = 0; i < LANES_MAX; i++)
	{
		free(lanes->lane[i].incarnation);
		lanes->lane[i] = (Lane) {0};
	}
}

/* What the target says; the source has perhaps not been told. */
void
lanes_set(Lanes *lanes, int number, long long position, const char *incarnation, bool lost)
{
	Lane	   *lane;

	if (number < 0 || number >= LANES_MAX)
		return;
	lane = &lanes->lane[number];
	free(lane->incarnation);
	*lane = (Lane) {position, 0, incarnation ? memory_string(incarnation) : NULL, lost};
}

/* Whether the target is before what this process knows, or a lane is no longer lost. */
bool
lanes_set_back(const Lanes *lanes, int number, long long position, bool lost)
{
	const Lane *lane;

	if (number < 0 || number >= LANES_MAX)
		return false;
	lane = &lanes->lane[number];
	return position < lane->position || (lane->lost && !lost);
}

/* The target has taken all up to the position. */
void
lanes_moved(Lanes *lanes, int number, long long position, const char *incarnation)
{
	Lane	   *lane = &lanes->lane[number];

	if (incarnation && (lane->incarnation == NULL || strcmp(lane->incarnation, incarnation) != 0))
	{
		free(lane->incarnation);
		lane->incarnation = memory_string(incarnation);
	}
	lane->position = position;
}

/*
 * Whether there is something to tell the source; then the arrays hold it.
 */
bool
lanes_unconfirmed(const Lanes *lanes, LaneArrays *arrays)
{
	bool		any = false;

	begin(arrays);
	for (int i = 0; i < LANES_MAX; i++)
	{
		const Lane *lane = &lanes->lane[i];

		if (lane->lost || lane->position == lane->confirmed)
			continue;
		add(arrays, i, lane);
		any = true;
	}
	end(arrays);
	return any;
}

/* The source was told. */
void
lanes_note_confirmed(Lanes *lanes)
{
	for (int i = 0; i < LANES_MAX; i++)
		lanes->lane[i].confirmed = lanes->lane[i].position;
}

/*
 * The arrays hold every lane that is not at its beginning, and those that may not be read
 * at LANE_LOST: what is read of an endpoint with few lanes must not cost as for many.
 */
void
lanes_readable(const Lanes *lanes, LaneArrays *arrays)
{
	static const Lane lost = {LANE_LOST};

	begin(arrays);
	for (int i = 0; i < LANES_MAX; i++)
	{
		if (lanes->lane[i].lost)
			add(arrays, i, &lost);
		else if (lanes->lane[i].position != 0)
			add(arrays, i, &lanes->lane[i]);
	}
	end(arrays);
}

bool
lanes_any_lost(const Lanes *lanes)
{
	bool		any = false;

	for (int i = 0; i < LANES_MAX; i++)
		any |= lanes->lane[i].lost;
	return any;
}

void
lane_arrays_free(LaneArrays *arrays)
{
	text_free(&arrays->numbers);
	text_free(&arrays->positions);
	text_free(&arrays->incarnations);
}

static void
begin(LaneArrays *arrays)
{
	text_reset(&arrays->numbers);
	text_reset(&arrays->positions);
	text_reset(&arrays->incarnations);
	text_add(&arrays->numbers, "{");
	text_add(&arrays->positions, "{");
	text_add(&arrays->incarnations, "{");
}

/* An incarnation has no character that an array would have to quote. */
static void
add(LaneArrays *arrays, int number, const Lane *lane)
{
	const char *comma = arrays->numbers.length > 1 ? "," : "";

	text_format(&arrays->numbers, "%s%d", comma, number);
	text_format(&arrays->positions, "%s%lld", comma, lane->position);
	text_format(&arrays->incarnations, "%s%s", comma,
				lane->incarnation ? lane->incarnation : "NULL");
}

static void
end(LaneArrays *arrays)
{
	text_add(&arrays->numbers, "}");
	text_add(&arrays->positions, "}");
	text_add(&arrays->incarnations, "}");
}
