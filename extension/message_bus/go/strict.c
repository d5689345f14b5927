/*
 * strict.c
 *		Strict order of a key's messages, for endpoints that ask for it.
 *
 * A message is delivered when all that were sent before it with its key are
 * settled: acked, dead or cancelled.  What waits for others is in
 * message_bus.aside, as are those that wait for a retry or for their time, which
 * is what the rest of the key waits for.  One message of a key is in a
 * consumer's hands at a time; the next stays in the ring meanwhile, so a key
 * without failures costs no more writes than elsewhere.
 *
 * The order is that of positions; a scheduled message takes one when it is sent.
 *
 * Lock protocol: the lane's holder alone decides, and all of a key is in one lane.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/uuid.h"

#include "message_bus/go/strict.h"
#include "message_bus/place/row.h"
#include "pg/scan.h"

typedef struct Head
{
	uint64		key;
	int64		position;
} Head;

/*
 * What was set aside of a lane, as this transaction sees it.
 */
StrictHeads *
strict_heads(const Endpoint *endpoint, int32 lane)
{
	HASHCTL		control = {.keysize = sizeof(uint64), .entrysize = sizeof(Head),
		.hcxt = CurrentMemoryContext};
	StrictHeads *heads = hash_create("keys of a lane", 64, &control,
									 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	TableScan	scan;
	HeapTuple	row;

	aside_scan_begin(&scan, endpoint, lane, ASIDE_ALL, 0);
	while ((row = table_scan_next(&scan, ForwardScanDirection)) != NULL)
	{
		RowValues	values;

		CHECK_FOR_INTERRUPTS();
		row_read(row, scan.descriptor, &values);
		strict_add(heads, strict_key(&values), DatumGetInt64(values.values[ROW_POSITION]));
	}
	table_scan_end(&scan);
	return heads;
}

/*
 * A message's key, hashed: two that share a hash wait for each other, no more.
 */
uint64
strict_key(const RowValues *row)
{
	text	   *key;

	if (row->nulls[ROW_PARTITION_KEY])
		return hash_bytes_extended(DatumGetUUIDP(row->values[ROW_CORRELATION_ID])->data, UUID_LEN,
								   0);
	key = DatumGetTextPP(row->values[ROW_PARTITION_KEY]);
	return hash_bytes_extended((unsigned char *) VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key), 1);
}

/*
 * Whether nothing of the key that was sent before is set aside.
 */
bool
strict_is_first(StrictHeads *heads, uint64 key, int64 position)
{
	const Head *head = hash_search(heads, &key, HASH_FIND, NULL);

	return head == NULL || head->position >= position;
}

bool
strict_is_first_row(StrictHeads *heads, const RowValues *row)
{
	return strict_is_first(heads, strict_key(row), DatumGetInt64(row->values[ROW_POSITION]));
}

/*
 * A message of the key has been set aside.
 */
void
strict_add(StrictHeads *heads, uint64 key, int64 position)
{
	bool		found;
	Head	   *head = hash_search(heads, &key, HASH_ENTER, &found);

	if (!found || position < head->position)
		head->position = position;
}

/*
 * Whether this transaction has another message of the delivery's key that is not
 * settled.
 */
bool
strict_in_hand(const HeldDelivery *delivery)
{
	for (int i = 0; i < held_delivery_count(); i++)
	{
		const HeldDelivery *other = held_delivery_get(i);

		if (other != delivery && other->lane == delivery->lane && other->key == delivery->key &&
			other->outcome == OUTCOME_NONE)
			return true;
	}
	return false;
}
