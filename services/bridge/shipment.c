/*
 * shipment.c
 *		Messages on their way to a broker, and what became of them, as parameters.
 */
#include "bridge/shipment.h"

#include <stdlib.h>

#include "bridge/arrays.h"
#include "bridge/statements.h"
#include "lib/text.h"

static bool is_last_of_lane(const Shipment *shipment, int number);

/* Takes what sql_read gave. */
void
shipment_load(Shipment *shipment, const PgResults *results)
{
	json_error_t error;

	shipment_clear(shipment);
	shipment->count = pg_rows(results, 0);
	shipment->items = memory_zero((size_t) shipment->count + 1, sizeof(PublishItem));
	for (int i = 0; i < shipment->count; i++)
	{
		PublishItem *item = &shipment->items[i];

		item->lane = atoi(pg_value(results, 0, i, READ_LANE));
		item->position = strtoll(pg_value(results, 0, i, READ_POSITION), NULL, 10);
		item->envelope = json_loads(pg_value(results, 0, i, READ_ENVELOPE), 0, &error);
		if (item->envelope)
			continue;
		/* As with a number that is none here; an empty message must not go in its place. */
		item->outcome = ITEM_REFUSED;
		item->error = memory_string(error.text);
		utf8_repair(item->error);
	}
}

/* When all is settled: what is to be told the database. */
void
shipment_settle(Shipment *shipment, bool drop_unroutable)
{
	shipment->nrefused = 0;
	for (int i = 0; i < 3; i++)
		array_begin(&shipment->refused[i]);
	for (int i = 0; i < 2; i++)
		array_begin(&shipment->arrived[i]);
	for (int i = 0; i < shipment->count; i++)
	{
		const PublishItem *item = &shipment->items[i];

		if (item->outcome == ITEM_REFUSED && !(item->returned && drop_unroutable))
		{
			array_add_number(&shipment->refused[0], item->lane);
			array_add_number(&shipment->refused[1], item->position);
			array_add_text(&shipment->refused[2], item->error ? item->error : "");
			shipment->nrefused++;
		}
		if (is_last_of_lane(shipment, i))
		{
			array_add_number(&shipment->arrived[0], item->lane);
			array_add_number(&shipment->arrived[1], item->position);
		}
	}
	for (int i = 0; i < 3; i++)
		array_end(&shipment->refused[i]);
	for (int i = 0; i < 2; i++)
		array_end(&shipment->arrived[i]);
}

/* Rows of a lane come together, in their order. */
static bool
is_last_of_lane(const Shipment *shipment, int number)
{
	return number + 1 == shipment->count ||
		shipment->items[number + 1].lane != shipment->items[number].lane;
}

void
shipment_clear(Shipment *shipment)
{
	for (int i = 0; i < shipment->count; i++)
	{
		json_decref(shipment->items[i].envelope);
		free(shipment->items[i].error);
	}
	free(shipment->items);
	for (int i = 0; i < 3; i++)
		text_free(&shipment->refused[i]);
	for (int i = 0; i < 2; i++)
		text_free(&shipment->arrived[i]);
	*shipment = (Shipment) {0};
}
