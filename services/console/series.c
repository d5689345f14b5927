/*
 * series.c
 *		Rings of values, three for each series.
 *
 * A place in a ring is found by its time, so that a look that did not happen
 * leaves a gap and nothing has to be moved.  A coarser ring keeps the last value of
 * its step, which is right for counters and good enough for the rest.
 */
#include "console/series.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_SERIES 500			/* some 14 MB */

typedef struct Ring
{
	const char *range;
	int			step;			/* seconds */
	int			places;
} Ring;

static const Ring rings[] = {
	{"10m", 1, 600},
	{"2h", 10, 720},
	{"24h", 60, 1440},
};

#define NRINGS lengthof(rings)

typedef struct Place
{
	uint32_t	time;			/* in steps of the ring since 1970; 0: nothing yet */
	float		value;			/* above what the ring began with */
} Place;

typedef struct Values
{
	char	   *key;
	double		base;			/* counters are large, what they grow by is small */
	Place	   *places[NRINGS];
} Values;

static struct
{
	Values		list[MOST_SERIES];
	int			count;
} series;

static Values *find(const char *key);
static void write_values(Text *target, const Values *values, size_t ring, uint64_t second);

/* Beyond the greatest number of series new ones are not kept. */
void
series_put(const char *key, uint64_t second, double value)
{
	Values	   *values = find(key);

	if (values == NULL)
	{
		if (series.count >= MOST_SERIES)
			return;
		values = &series.list[series.count++];
		values->key = memory_string(key);
		values->base = value;
		for (size_t i = 0; i < NRINGS; i++)
			values->places[i] = memory_zero((size_t) rings[i].places, sizeof(Place));
	}
	for (size_t i = 0; i < NRINGS; i++)
	{
		uint32_t	time = (uint32_t) (second / (uint64_t) rings[i].step);

		values->places[i][time % (uint32_t) rings[i].places] =
			(Place) {time, (float) (value - values->base)};
	}
}

/*
 * Adds {"step", "end", "series": {key: [values up to end, null: none]}} of the series
 * whose key begins so; false without such a range.
 */
bool
series_write(Text *target, const char *range, const char *prefix, uint64_t second)
{
	bool		first = true;

	for (size_t ring = 0; ring < NRINGS; ring++)
	{
		if (strcmp(rings[ring].range, range) != 0)
			continue;
		text_format(target, "{\"step\":%d,\"end\":%llu,\"series\":{", rings[ring].step,
					(unsigned long long) (second - second % (uint64_t) rings[ring].step));
		for (int i = 0; i < series.count; i++)
		{
			const Values *values = &series.list[i];

			if (strncmp(values->key, prefix, strlen(prefix)) != 0)
				continue;
			text_add(target, first ? "" : ",");
			text_json(target, values->key);
			text_add(target, ":[");
			write_values(target, values, ring, second);
			text_add(target, "]");
			first = false;
		}
		text_add(target, "}}");
		return true;
	}
	return false;
}

int
series_count(void)
{
	return series.count;
}

void
series_clear(void)
{
	for (int i = 0; i < series.count; i++)
	{
		free(series.list[i].key);
		for (size_t ring = 0; ring < NRINGS; ring++)
			free(series.list[i].places[ring]);
	}
	memset(&series, 0, sizeof(series));
}

static Values *
find(const char *key)
{
	for (int i = 0; i < series.count; i++)
		if (strcmp(series.list[i].key, key) == 0)
			return &series.list[i];
	return NULL;
}

/* From the first place that has one, so that a young series is short. */
static void
write_values(Text *target, const Values *values, size_t ring, uint64_t second)
{
	uint32_t	end = (uint32_t) (second / (uint64_t) rings[ring].step);
	uint32_t	places = (uint32_t) rings[ring].places;
	bool		began = false;

	for (uint32_t time = end - places + 1; time <= end; time++)
	{
		const Place *place = &values->places[ring][time % places];

		if (place->time != time && !began)
			continue;
		text_add(target, began ? "," : "");
		began = true;
		if (place->time != time || isnan(place->value))
			text_add(target, "null");
		else
			text_format(target, "%.10g", values->base + place->value);
	}
}
