/*
 * portion.c
 *		What of a lane is accepted at once, as parameters.
 *
 * Copies of what was read, since more is read while they are being accepted.
 */
#include "link/portion.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/text.h"
#include "link/statements.h"

/* The source ends a portion when it is as large as this, whatever the number of messages. */
#define LARGE_PORTION (4 * 1024 * 1024)

static void fill(Portion *portion, const char *link, const Lanes *lanes, const ReadRow *read);

/* Makes portions of the rows that were read. */
void
portions_fill(Portions *portions, const char *link, const Lanes *lanes, const ReadRow *first,
			  const PortionLimits *limits)
{
	int			rows = pg_rows(first->results, first->step);

	portions->count = 0;
	portions->full = false;
	for (int i = 0; i < rows && portions->count < limits->most; i++)
	{
		ReadRow		row = {first->results, first->step, (i + limits->turn) % rows};
		Portion    *portion = &portions->portion[portions->count];

		if (atoi(pg_value(row.results, row.step, row.row, READ_COUNT)) == 0)
			continue;
		fill(portion, link, lanes, &row);
		portions->count++;
		portions->full |= portion->count >= limits->batch || portion->lengths[4] >= LARGE_PORTION;
	}
}

void
portions_clear(Portions *portions)
{
	for (int i = 0; i < portions->count; i++)
	{
		free(portions->portion[i].incarnation);
		free(portions->portion[i].messages);
	}
	portions->count = 0;
	portions->full = false;
}

static void
fill(Portion *portion, const char *link, const Lanes *lanes, const ReadRow *read)
{
	const PgResults *results = read->results;
	const char *incarnation = pg_value(results, read->step, read->row, READ_INCARNATION);
	int			length = pg_length(results, read->step, read->row, READ_MESSAGES);

	*portion = (Portion) {
		.lane = atoi(pg_value(results, read->step, read->row, READ_LANE)),
		.count = atoi(pg_value(results, read->step, read->row, READ_COUNT)),
		.upto = strtoll(pg_value(results, read->step, read->row, READ_UPTO), NULL, 10),
		.incarnation = incarnation ? memory_string(incarnation) : NULL,
		.messages = memory_string_n(pg_value(results, read->step, read->row, READ_MESSAGES),
									length)
	};
	snprintf(portion->numbers[0], sizeof(portion->numbers[0]), "%d", portion->lane);
	snprintf(portion->numbers[1], sizeof(portion->numbers[1]), "%lld",
			 lane_read_upto(&lanes->lane[portion->lane]));
	snprintf(portion->numbers[2], sizeof(portion->numbers[2]), "%lld", portion->upto);
	portion->values[0] = link;
	for (int i = 0; i < 3; i++)
		portion->values[i + 1] = portion->numbers[i];
	portion->values[4] = portion->messages;
	portion->lengths[4] = length;
	portion->values[5] = portion->incarnation;
}
