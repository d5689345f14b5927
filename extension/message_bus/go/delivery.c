/*
 * delivery.c
 *		A delivery that is to be settled, held or leased.
 *
 * Whoever settles one need not know whose it is: it is found by its receipt, read,
 * and closed.  A delivery of this transaction is in its memory (held.c), a leased
 * one is a row of message_bus.lease.
 *
 * Lock protocol: who opens a leased delivery takes its lane's lock, waiting for it,
 * and keeps it until the transaction ends.  So who opens several does so in the
 * order of their receipts.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "base/errors.h"
#include "message_bus/endpoint/breaker_note.h"
#include "message_bus/endpoint/endpoint.h"
#include "message_bus/go/delivery.h"
#include "message_bus/go/lease_note.h"
#include "message_bus/know/lane.h"
#include "message_bus/know/note.h"
#include "message_bus/place/aside.h"
#include "message_bus/place/ring.h"
#include "pg/clock.h"
#include "pg/lock.h"
#include "pg/scan.h"
#include "pg/spi.h"

static ExtensionRelation lease_index = {"message_bus", "lease_pkey"};

static bool read_in_ring(Delivery *delivery);
static bool read_aside(Delivery *delivery);
static void close_lease(const Delivery *delivery, Outcome outcome);

/*
 * The delivery of that number of this transaction, and its row.
 */
void
delivery_hold(Delivery *delivery, int number)
{
	const HeldDelivery *held = held_delivery_get(number);
	const HeldLane *lane = held_lane_get(held->lane);

	delivery->kind = DELIVERY_HELD;
	delivery->delivery_id = held->delivery_id;
	delivery->endpoint = lane->endpoint;
	delivery->lane = lane->lane;
	delivery->message_id = held->message_id;
	delivery->attempt = held->attempt;
	delivery->deaths = held->deaths;
	delivery->position = held->position;
	delivery->held = number;
	delivery->tid = held->tid;
	delivery->read = false;
}

/*
 * The delivery of this transaction with that receipt; false if it has none that
 * waits to be settled.
 */
bool
delivery_find_held(Delivery *delivery, int64 delivery_id)
{
	int			number = held_delivery_find(delivery_id);

	if (number < 0)
		return false;
	delivery_hold(delivery, number);
	return true;
}

/*
 * The delivery of a lease, as it is now; false if there is none, or its endpoint has
 * been dropped.
 */
bool
delivery_of_lease(Delivery *delivery, int64 delivery_id)
{
	TableScan	scan;
	ScanKeyData key;
	HeapTuple	row;
	Datum		values[LEASE_COLUMNS];
	bool		nulls[LEASE_COLUMNS];

	key_int8(&key, LEASE_DELIVERY_ID + 1, BTEqualStrategyNumber, delivery_id);
	table_scan_begin(&scan, &bus_lease_table, &lease_index, 1, &key, NULL);
	row = table_scan_next(&scan, ForwardScanDirection);
	if (row != NULL)
	{
		heap_deform_tuple(row, scan.descriptor, values, nulls);
		delivery->kind = DELIVERY_LEASED;
		delivery->delivery_id = delivery_id;
		delivery->lane = DatumGetInt32(values[LEASE_LANE]);
		delivery->position = nulls[LEASE_POSITION] ? 0 : DatumGetInt64(values[LEASE_POSITION]);
		delivery->upto = DatumGetInt64(values[LEASE_UPTO]);
		delivery->message_id = *DatumGetUUIDP(values[LEASE_MESSAGE_ID]);
		delivery->message_type = TextDatumGetCString(values[LEASE_MESSAGE_TYPE]);
		delivery->attempt = DatumGetInt32(values[LEASE_ATTEMPT]);
		delivery->deaths = 0;
		delivery->probe = DatumGetBool(values[LEASE_PROBE]);
		delivery->handled = DatumGetBool(values[LEASE_HANDLED]);
		delivery->read = false;
	}
	table_scan_end(&scan);
	if (row == NULL)
		return false;
	delivery->endpoint = endpoint_by_id(DatumGetInt32(values[LEASE_ENDPOINT_ID]));
	return delivery->endpoint != NULL;
}

/*
 * Finds a lease and locks its lane; false if there is none any more.
 */
bool
delivery_find_leased(Delivery *delivery, int64 delivery_id)
{
	if (!delivery_of_lease(delivery, delivery_id))
		return false;
	note_begin();
	(void) lock_take(LOCK_LANE, delivery->endpoint->id, delivery->lane, ExclusiveLock, true);
	if (!delivery_of_lease(delivery, delivery_id))
		return false;
	(void) lane_checked(delivery->endpoint, delivery->lane);
	return true;
}

/*
 * Finds a message whose lease has expired and that nobody has received since, locks
 * its lane and reads it.  An ack that comes late is still good.
 */
bool
delivery_find_expired(Delivery *delivery, int64 delivery_id)
{
	static SpiStatement find = {
		"SELECT a.endpoint_id, a.lane, a.message_id FROM message_bus.aside a"
		" WHERE a.receipt = $1 AND a.state IN ('retrying', 'returned', 'held')"
		" AND NOT EXISTS (SELECT FROM message_bus.lease l WHERE l.delivery_id = $1)"};
	enum
	{
		ENDPOINT_ID,
		LANE,
		MESSAGE_ID
	};
	Datum		id = Int64GetDatum(delivery_id);
	int32		endpoint_id = 0;
	bool		isnull;
	bool		found;

	memset(delivery, 0, offsetof(Delivery, row));
	delivery->kind = DELIVERY_EXPIRED;
	delivery->delivery_id = delivery_id;
	spi_begin(SPI_AS_OWNER);
	found = spi_run_latest(&find, 1, (Oid[]) {INT8OID}, &id, NULL) == 1;
	if (found)
	{
		endpoint_id = spi_int32(0, ENDPOINT_ID, 0);
		delivery->lane = spi_int32(0, LANE, 0);
		delivery->message_id = *DatumGetUUIDP(spi_value(0, MESSAGE_ID, &isnull));
	}
	spi_end();
	if (!found)
		return false;
	note_begin();
	(void) lock_take(LOCK_LANE, endpoint_id, delivery->lane, ExclusiveLock, true);
	delivery->endpoint = endpoint_by_id(endpoint_id);
	return delivery->endpoint != NULL && delivery_read(delivery) &&
		!delivery->row.nulls[ASIDE_RECEIPT] &&
		DatumGetInt64(delivery->row.values[ASIDE_RECEIPT]) == delivery_id;
}

/*
 * Finds a delivery, whoever has it, to settle it; MB003 if there is none.
 */
void
delivery_open(Delivery *delivery, int64 delivery_id)
{
	if (!delivery_find_held(delivery, delivery_id) &&
		!delivery_find_leased(delivery, delivery_id))
		delivery_refuse(delivery_id);
	if (!delivery_read(delivery))
		delivery_refuse(delivery_id);
}

/*
 * The same without a lock, to look at it only.
 */
void
delivery_look(Delivery *delivery, int64 delivery_id)
{
	if ((!delivery_find_held(delivery, delivery_id) &&
		 !delivery_of_lease(delivery, delivery_id)) ||
		!delivery_read(delivery))
		delivery_refuse(delivery_id);
}

/*
 * Reads the delivery's message, and where it is if it had been set aside; false if it
 * is gone.  What a row of the ring does not have is null.
 */
bool
delivery_read(Delivery *delivery)
{
	if (delivery->read)
		return true;
	if (delivery->kind == DELIVERY_HELD)
	{
		int32		id = delivery->endpoint->id;

		held_row_values(held_delivery_get(delivery->held), &delivery->row);
		/* As it is now; this transaction may itself have changed it. */
		delivery->endpoint = endpoint_by_id(id);
		if (delivery->endpoint == NULL)
			elog(ERROR, "endpoint %d is gone", id);
		delivery->read = true;
	}
	else
	{
		for (int i = ROW_COLUMNS; i < ASIDE_COLUMNS; i++)
			delivery->row.nulls[i] = true;
		delivery->read = delivery->position != 0 ? read_in_ring(delivery) : read_aside(delivery);
	}
	return delivery->read;
}

static bool
read_in_ring(Delivery *delivery)
{
	LaneReader	reader;
	int64		position;
	HeapTuple	row;
	bool		found;

	lane_reader_begin(&reader, delivery->endpoint, delivery->lane, delivery->position - 1);
	row = lane_reader_next(&reader, &position);
	found = row != NULL && position == delivery->position;
	if (found)
		row_read(table_copy_row(row, ring_descriptor()), ring_descriptor(), &delivery->row);
	lane_reader_end(&reader);
	return found;
}

static bool
read_aside(Delivery *delivery)
{
	TableScan	scan;
	ScanKeyData keys[2];
	HeapTuple	row;

	key_uuid(&keys[0], 1, &delivery->message_id);
	key_int4(&keys[1], 2, BTEqualStrategyNumber, delivery->endpoint->id);
	table_scan_begin(&scan, &bus_aside_table, &bus_aside_id_index, 2, keys, NULL);
	row = table_scan_next(&scan, ForwardScanDirection);
	if (row != NULL)
	{
		delivery->tid = row->t_self;
		table_keep_rows(&scan);
		row_read(table_copy_row(row, scan.descriptor), scan.descriptor, &delivery->row);
	}
	table_scan_end(&scan);
	return row != NULL;
}

/*
 * The delivery's message has been dealt with.
 */
void
delivery_close(Delivery *delivery, Outcome outcome)
{
	switch (delivery->kind)
	{
		case DELIVERY_HELD:
			held_settle(held_delivery_get(delivery->held), outcome);
			break;
		case DELIVERY_LEASED:
			close_lease(delivery, outcome);
			break;
		case DELIVERY_EXPIRED:
			lease_note_lane(delivery->endpoint, delivery->lane)->acked++;
			break;
	}
}

/*
 * The breaker hears of a lease's end: of a probe whatever became of it.
 */
static void
close_lease(const Delivery *delivery, Outcome outcome)
{
	static SpiStatement delete = {
		"DELETE FROM message_bus.lease l WHERE l.delivery_id = $1"};
	Datum		id = Int64GetDatum(delivery->delivery_id);
	LeaseNote  *note = lease_note_lane(delivery->endpoint, delivery->lane);
	bool		counts = outcome != OUTCOME_MOVED && (delivery->attempt == 1 || delivery->probe);
	BreakerOutcome told = {counts, counts && outcome == OUTCOME_FAILED, delivery->probe,
	clock_now()};

	breaker_note_outcome(delivery->endpoint, delivery->message_type, &told);
	spi_execute_latest(&delete, 1, (Oid[]) {INT8OID}, &id, NULL);
	note->upto = delivery->upto;
	note->acked += outcome == OUTCOME_ACKED;
}

void
delivery_refuse(int64 delivery_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_MB_STALE_DELIVERY),
			 errmsg("delivery " INT64_FORMAT " is not yours", delivery_id),
			 errdetail("It is unknown, settled already, or has passed on to somebody else."),
			 errhint("Receive the message again; what was done for it may have to be undone.")));
}
