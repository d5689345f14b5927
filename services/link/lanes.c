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

static void forget_sent(Lane *lane);
static void begin(LaneArrays *arrays);
static void add(LaneArrays *arrays, int number, long long position, const char *incarnation);
static void end(LaneArrays *arrays);

/* As if nothing had ever been brought. */
void
lanes_forget(Lanes *lanes)
{
	for (int i = 0; i < LANES_MAX; i++)
	{
		forget_sent(&lanes->lane[i]);
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
	forget_sent(lane);
	free(lane->incarnation);
	*lane = (Lane) {.position = position, .lost = lost,
		.incarnation = incarnation ? memory_string(incarnation) : NULL};
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

	forget_sent(lane);
	if (incarnation && (lane->incarnation == NULL || strcmp(lane->incarnation, incarnation) != 0))
	{
		free(lane->incarnation);
		lane->incarnation = memory_string(incarnation);
	}
	lane->position = position;
}

/* The target is to take all up to the position; what comes then is read meanwhile. */
void
lanes_sent(Lanes *lanes, int number, long long position, const char *incarnation)
{
	Lane	   *lane = &lanes->lane[number];

	forget_sent(lane);
	lane->sent = true;
	lane->sent_upto = position;
	lane->sent_from = incarnation ? memory_string(incarnation) : NULL;
}

/* Nothing is on its way. */
void
lanes_forget_sent(Lanes *lanes)
{
	for (int i = 0; i < LANES_MAX; i++)
		forget_sent(&lanes->lane[i]);
}

static void
forget_sent(Lane *lane)
{
	free(lane->sent_from);
	lane->sent_from = NULL;
	lane->sent = false;
}

/* What is read next of a lane comes after that. */
long long
lane_read_upto(const Lane *lane)
{
	return lane->sent ? lane->sent_upto : lane->position;
}

/*
 * Whether there is something to tell the source; then the arrays hold it.
 */
bool
lanes_unconfirmed(Lanes *lanes, LaneArrays *arrays)
{
	bool		any = false;

	begin(arrays);
	for (int i = 0; i < LANES_MAX; i++)
	{
		Lane	   *lane = &lanes->lane[i];

		lane->told = lane->position;
		if (lane->lost || lane->position == lane->confirmed)
			continue;
		add(arrays, i, lane->position, lane->incarnation);
		any = true;
	}
	end(arrays);
	return any;
}

/* The source was told what the arrays held last. */
void
lanes_note_confirmed(Lanes *lanes)
{
	for (int i = 0; i < LANES_MAX; i++)
		lanes->lane[i].confirmed = lanes->lane[i].told;
}

/*
 * The arrays hold where to read on: every lane that is not at its beginning, and those
 * that may not be read at LANE_LOST: what is read of an endpoint with few lanes must not
 * cost as for many.
 */
void
lanes_readable(const Lanes *lanes, LaneArrays *arrays)
{
	begin(arrays);
	for (int i = 0; i < LANES_MAX; i++)
	{
		const Lane *lane = &lanes->lane[i];

		if (lane->lost)
			add(arrays, i, LANE_LOST, NULL);
		else if (lane_read_upto(lane) != 0)
			add(arrays, i, lane_read_upto(lane), lane->sent ? lane->sent_from : lane->incarnation);
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
add(LaneArrays *arrays, int number, long long position, const char *incarnation)
{
	const char *comma = arrays->numbers.length > 1 ? "," : "";

	text_format(&arrays->numbers, "%s%d", comma, number);
	text_format(&arrays->positions, "%s%lld", comma, position);
	text_format(&arrays->incarnations, "%s%s", comma, incarnation ? incarnation : "NULL");
}

static void
end(LaneArrays *arrays)
{
	text_add(&arrays->numbers, "}");
	text_add(&arrays->positions, "}");
	text_add(&arrays->incarnations, "}");
}
