/*
 * choice.c
 *		Choices of a simulation: drawn from a seed, or enumerated one after the other.
 *
 * Enumerating works like an odometer: a schedule is the sequence of its choices;
 * the next one repeats all but the last choice that can still be taken otherwise.
 */
#include "postgres.h"

#include "common/hashfn.h"

#include "saga/simulate/choice.h"

#define MAX_CHOICES 4096

struct Chooser
{
	bool		exhaustive;
	uint64		state;			/* of the generator */
	int			depth;
	int			taken[MAX_CHOICES];
	int			counts[MAX_CHOICES];
};

Chooser *
chooser_new(bool exhaustive)
{
	Chooser    *chooser = palloc0(sizeof(Chooser));

	chooser->exhaustive = exhaustive;
	return chooser;
}

/*
 * A number that seed and schedule determine.
 */
uint64
chooser_seed(int64 seed, int schedule)
{
	return hash_bytes_uint32_extended((uint32) schedule, (uint64) seed + 1);
}

void
chooser_begin(Chooser *chooser, int64 seed, int schedule)
{
	chooser->state = chooser_seed(~seed, schedule);
	chooser->depth = 0;
}

/*
 * A number from 0 to count - 1.
 */
int
chooser_choose(void *argument, int count)
{
	Chooser    *chooser = argument;
	int			choice;

	if (count <= 1)
		return 0;
	if (!chooser->exhaustive)
	{
		chooser->state = hash_bytes_uint32_extended((uint32) count, chooser->state);
		return (int) ((chooser->state >> 16) % (uint64) count);
	}
	if (chooser->depth >= MAX_CHOICES)
		return 0;
	choice = chooser->counts[chooser->depth] == 0 ? 0 : chooser->taken[chooser->depth];
	chooser->counts[chooser->depth] = count;
	chooser->taken[chooser->depth++] = choice;
	return choice;
}

/*
 * Turns to the next schedule; false when all were taken.
 */
bool
chooser_next(Chooser *chooser)
{
	while (chooser->depth > 0)
	{
		int			last = chooser->depth - 1;

		if (chooser->taken[last] + 1 < chooser->counts[last])
		{
			chooser->taken[last]++;
			chooser->depth = 0;
			return true;
		}
		chooser->counts[last] = 0;
		chooser->taken[last] = 0;
		chooser->depth--;
	}
	return false;
}
