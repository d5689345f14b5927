/*
 * portion.c
 *		What of a lane is accepted at once, as parameters.
 */
#include "link/portion.h"

#include <stdio.h>
#include <stdlib.h>

#include "lib/text.h"
#include "link/statements.h"

/*
 * Makes a portion of a row that was read.  The messages stay in the results, which
 * must last until they are sent; the rest is copied.
 */
void
portion_fill(Portion *portion, const char *link, const Lanes *lanes, const ReadRow *read)
{
	const PgResults *results = read->results;
	const char *incarnation = pg_value(results, read->step, read->row, READ_INCARNATION);

	portion->lane = atoi(pg_value(results, read->step, read->row, READ_LANE));
	portion->count = atoi(pg_value(results, read->step, read->row, READ_COUNT));
	portion->upto = strtoll(pg_value(results, read->step, read->row, READ_UPTO), NULL, 10);
	free(portion->incarnation);
	portion->incarnation = incarnation ? memory_string(incarnation) : NULL;
	snprintf(portion->numbers[0], sizeof(portion->numbers[0]), "%d", portion->lane);
	snprintf(portion->numbers[1], sizeof(portion->numbers[1]), "%lld",
			 lanes->lane[portion->lane].position);
	snprintf(portion->numbers[2], sizeof(portion->numbers[2]), "%lld", portion->upto);
	portion->values[0] = link;
	for (int i = 0; i < 3; i++)
		portion->values[i + 1] = portion->numbers[i];
	portion->values[4] = pg_value(results, read->step, read->row, READ_MESSAGES);
	portion->lengths[4] = pg_length(results, read->step, read->row, READ_MESSAGES);
	portion->values[5] = portion->incarnation;
}
