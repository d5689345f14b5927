/*
 * lease.c
 *		Deliveries that outlive the transaction that received them.
 *
 * A leased message stays where it is, in the ring or aside; message_bus.lease
 * says who may settle it and until when.  While a lane has leases nobody
 * receives from it; when the last is settled its cursor moves past all of them.
 * An expired lease of a message that was handled is a failed attempt, counted by
 * whoever receives from the lane next, or by the worker.  The message then waits
 * for its retry with the lease's receipt on it: it will be handed out alone, and
 * an ack that comes late is still accepted until it is.
 *
 * Lock protocol: settling takes the lane's lock, waiting for it, and keeps it
 * until the transaction ends; shared memory follows at the commit (lease_note.c).
 *
 * A crash leaves leases as they were; consumers go on with their receipts,
 * which no later delivery can have.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "base/debug_point.h"
#include "base/errors.h"
#include "message_bus/endpoint/breaker_note.h"
#include "message_bus/endpoint/envelope.h"
#include "message_bus/go/dead_letter.h"
#include "message_bus/go/ending.h"
#include "message_bus/go/lease.h"
#include "message_bus/go/lease_note.h"
#include "message_bus/know/lane.h"
#include "message_bus/know/note.h"
#include "message_bus/know/table.h"
#include "message_bus/place/ring.h"
#include "message_bus/place/row.h"
#include "pg/clock.h"
#include "pg/spi.h"

/* A row of message_bus.lease. */
typedef struct Lease
{
	int64		delivery_id;
	int32		endpoint_id;
	int32		lane;
	int64		position;		/* 0: the message had been set aside */
	int64		upto;
	pg_uuid_t	message_id;
	char	   *message_type;
	int32		attempt;
	bool		probe;
	bool		handled;		/* by its consumer, as far as is known */
} Lease;

static bool leased_before(int first, int number);
static bool find_lease(int64 delivery_id, Lease *lease);
static Endpoint *open_lease(int64 delivery_id, Lease *lease);
static void close_lease(const Endpoint *endpoint, const Lease *lease, Outcome outcome);
static bool read_message(const Endpoint *endpoint, const Lease *lease, RowValues *row,
						 ItemPointer tid);
static void fail_lease(const Endpoint *endpoint, const Lease *lease, const Failure *why,
					   bool retryable, int64 receipt);
static void return_lease(const Endpoint *endpoint, const Lease *lease, TimestampTz due,
						 const char *reason, int64 receipt);
static bool ack_late(int64 delivery_id);
static void read_lease(uint64 number, Lease *lease);
static int	compare_receipts(const void *a, const void *b);

/*
 * When a lease of that length ends; refuses it inside a transaction block.
 */
TimestampTz
lease_end(const Interval *lease, bool in_block)
{
	TimestampTz now = clock_now();
	TimestampTz end;

	if (in_block)
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("receive with a lease cannot run inside a transaction block"),
				 errdetail("The lease must be committed before the consumer begins to work."),
				 errhint("Call it on its own in autocommit mode, or leave lease out.")));
	end = clock_after(now, lease, "lease");
	if (end <= now)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("lease must be positive"),
				 errhint("Pass longer than the work takes, like '30 s', and extend it on the way.")));
	return end;
}

/*
 * Leases the deliveries of a call of receive instead of keeping them in the
 * transaction.
 */
void
lease_deliveries(const ReceiveCall *call)
{
	static SpiStatement insert = {
		"INSERT INTO message_bus.lease VALUES ($1, $2, $3, NULLIF($4, 0), $5, $6, $7, $8, $9, $10, $11)"};
	static SpiStatement mark = {
		"UPDATE message_bus.aside a SET receipt = $3 WHERE a.message_id = $1 AND a.endpoint_id = $2"};
	Oid			types[] = {INT8OID, INT4OID, INT4OID, INT8OID, INT8OID, UUIDOID, TEXTOID, INT4OID,
	BOOLOID, BOOLOID, TIMESTAMPTZOID};

	spi_begin(SPI_AS_OWNER);
	for (int i = call->first; i < held_delivery_count(); i++)
	{
		HeldDelivery *delivery = held_delivery_get(i);
		HeldLane   *lane = held_lane_get(delivery->lane);
		Datum		values[11] = {
			Int64GetDatum(delivery->delivery_id), Int32GetDatum(call->endpoint->id),
			Int32GetDatum(lane->lane), Int64GetDatum(delivery->position),
			Int64GetDatum(lane->read_upto), UUIDPGetDatum(&delivery->message_id),
			CStringGetTextDatum(delivery->message_type), Int32GetDatum(delivery->attempt),
			BoolGetDatum(delivery->probe), BoolGetDatum(call->given == 1),
			TimestampTzGetDatum(call->leased_until)
		};

		if (delivery->outcome != OUTCOME_NONE)
		{
			/* The cursor passes it with the leases, which count only themselves. */
			if (delivery->position != 0 && !delivery->uncounted &&
				leased_before(call->first, i))
				note_settled(lane->endpoint);
			continue;
		}
		(void) spi_run_latest(&insert, 11, types, values, NULL);
		if (delivery->position == 0)
		{
			Datum		of_aside[3] = {values[5], values[1], values[0]};

			(void) spi_run_latest(&mark, 3, (Oid[]) {UUIDOID, INT4OID, INT8OID}, of_aside, NULL);
		}
		held_settle(delivery, OUTCOME_LEASED);
		lease_note_lane(lane->endpoint, lane->lane)->created_in_ring += delivery->position != 0;
	}
	spi_end();
}

/*
 * Whether a delivery of the same lane before that one was leased where it is.
 */
static bool
leased_before(int first, int number)
{
	for (int i = first; i < number; i++)
	{
		HeldDelivery *delivery = held_delivery_get(i);

		if (delivery->lane == held_delivery_get(number)->lane && delivery->position != 0 &&
			delivery->outcome == OUTCOME_LEASED)
			return true;
	}
	return false;
}

/*
 * Settles a lane's expired leases; the caller holds the lane.  Of a batch nobody
 * knows which message its consumer died of, so none has failed; each will come
 * alone, and then it is known.  Nobody waits for a consumer who is just saying
 * that he begins with one.
 */
LeaseSweep
lease_sweep(const Endpoint *endpoint, HeldLane *lane, TimestampTz now)
{
	static SpiStatement expired = {
		"SELECT l.delivery_id, l.endpoint_id, l.lane, l.position, l.upto, l.message_id, l.message_type,"
		" l.attempt, l.probe, l.handled FROM message_bus.lease l"
		" WHERE l.endpoint_id = $1 AND l.lane = $2 AND l.leased_until <= $3 ORDER BY 1"
		" FOR UPDATE SKIP LOCKED"};
	Datum		values[] = {Int32GetDatum(endpoint->id), Int32GetDatum(lane->lane),
	TimestampTzGetDatum(now)};
	uint64		count;
	Lease	   *swept;
	BusLeases	left;

	spi_begin(SPI_AS_OWNER);
	count = spi_run_latest(&expired, 3, (Oid[]) {INT4OID, INT4OID, TIMESTAMPTZOID}, values, NULL);
	swept = palloc(sizeof(Lease) * Max(count, 1));
	for (uint64 i = 0; i < count; i++)
		read_lease(i, &swept[i]);
	DEBUG_POINT("lease_sweep");
	for (uint64 i = 0; i < count; i++)
	{
		if (swept[i].handled)
			fail_lease(endpoint, &swept[i],
					   &(Failure) {.code = "timeout", .text = "the lease expired"}, true,
					   swept[i].delivery_id);
		else
			return_lease(endpoint, &swept[i], DUE_AT_ONCE, NULL, swept[i].delivery_id);
	}
	lease_read_lane(lane->endpoint, lane->lane, &left);
	if (left.count == 0 && count > 0)
	{
		lane->swept_upto = swept[0].upto;
		lane->read_upto = Max(lane->read_upto, lane->swept_upto);
	}
	spi_end();
	return left.count == 0 ? LEASE_LANE_FREE : count > 0 ? LEASE_LANE_SWEPT
														 : LEASE_LANE_TAKEN;
}

/*
 * Acks leases, all of them or none.  Sorts the receipts, so that two callers
 * take lanes in the same order.
 */
void
lease_ack(int64 *delivery_ids, int count)
{
	qsort(delivery_ids, count, sizeof(int64), compare_receipts);
	spi_begin(SPI_AS_OWNER);
	for (int i = 0; i < count; i++)
	{
		Lease		lease;
		Endpoint   *endpoint = open_lease(delivery_ids[i], &lease);

		if (endpoint == NULL)
		{
			if (!ack_late(delivery_ids[i]))
				ending_refuse(delivery_ids[i]);
			continue;
		}
		if (lease.position == 0)
		{
			RowValues	row;
			ItemPointerData tid;

			if (read_message(endpoint, &lease, &row, &tid))
			{
				table_delete(&bus_aside_table, &tid);
				ending_remember(endpoint, &row);
			}
		}
		close_lease(endpoint, &lease, OUTCOME_ACKED);
	}
	spi_end();
}

void
lease_fail(int64 delivery_id, const char *error_code, const char *error, bool retryable)
{
	Lease		lease;
	Endpoint   *endpoint;

	spi_begin(SPI_AS_OWNER);
	endpoint = open_lease(delivery_id, &lease);
	if (endpoint == NULL)
		ending_refuse(delivery_id);
	fail_lease(endpoint, &lease, &(Failure) {.code = error_code, .text = error}, retryable, 0);
	spi_end();
}

void
lease_skip(int64 delivery_id, const char *reason)
{
	Lease		lease;
	Endpoint   *endpoint;
	RowValues	row;
	ItemPointerData tid;
	Failure		failure;

	spi_begin(SPI_AS_OWNER);
	endpoint = open_lease(delivery_id, &lease);
	if (endpoint == NULL || !read_message(endpoint, &lease, &row, &tid))
		ending_refuse(delivery_id);
	failure = row_failure(&row, lease.attempt, clock_now());
	failure.text = reason;
	if (lease.position == 0)
		table_delete(&bus_aside_table, &tid);
	dead_letter(endpoint, &row, "skipped", &failure);
	close_lease(endpoint, &lease, OUTCOME_MOVED);
	spi_end();
}

void
lease_snooze(int64 delivery_id, TimestampTz until, const char *reason)
{
	Lease		lease;
	Endpoint   *endpoint;

	spi_begin(SPI_AS_OWNER);
	endpoint = open_lease(delivery_id, &lease);
	if (endpoint == NULL)
		ending_refuse(delivery_id);
	return_lease(endpoint, &lease, until, reason, 0);
	spi_end();
}

/*
 * Sets the context from a leased message.  Called on its own, before the work, it
 * also says that this message of a batch is the one being handled.  In a
 * transaction it cannot: the row would be locked for as long as the work takes.
 */
void
lease_handle(int64 delivery_id)
{
	static SpiStatement mark = {
		"UPDATE message_bus.lease l SET handled = true WHERE l.delivery_id = $1 AND NOT l.handled"};
	Datum		id = Int64GetDatum(delivery_id);
	Lease		lease;
	Endpoint   *endpoint;
	RowValues	row;
	ItemPointerData tid;
	Context		context;

	spi_begin(SPI_AS_OWNER);
	if (!find_lease(delivery_id, &lease) ||
		(endpoint = endpoint_by_id(lease.endpoint_id)) == NULL ||
		!read_message(endpoint, &lease, &row, &tid))
		ending_refuse(delivery_id);
	envelope_context(&row, &context);
	context_set(&context);
	if (!lease.handled && !IsTransactionBlock() && !XactReadOnly)
		(void) spi_run_latest(&mark, 1, (Oid[]) {INT8OID}, &id, NULL);
	spi_end();
}

static bool
find_lease(int64 delivery_id, Lease *lease)
{
	static SpiStatement find = {
		"SELECT l.delivery_id, l.endpoint_id, l.lane, l.position, l.upto, l.message_id, l.message_type,"
		" l.attempt, l.probe, l.handled FROM message_bus.lease l WHERE l.delivery_id = $1"};
	Datum		id = Int64GetDatum(delivery_id);

	if (spi_run_latest(&find, 1, (Oid[]) {INT8OID}, &id, NULL) != 1)
		return false;
	read_lease(0, lease);
	return true;
}

static void
read_lease(uint64 number, Lease *lease)
{
	bool		isnull;

	lease->delivery_id = spi_int64(number, 0, 0);
	lease->endpoint_id = spi_int32(number, 1, 0);
	lease->lane = spi_int32(number, 2, 0);
	lease->position = spi_int64(number, 3, 0);
	lease->upto = spi_int64(number, 4, 0);
	lease->message_id = *DatumGetUUIDP(spi_value(number, 5, &isnull));
	lease->message_type = spi_text(number, 6, CurrentMemoryContext);
	lease->attempt = spi_int32(number, 7, 1);
	lease->probe = spi_bool(number, 8);
	lease->handled = spi_bool(number, 9);
}

/*
 * Finds a lease and locks its lane; NULL if there is none any more.
 */
static Endpoint *
open_lease(int64 delivery_id, Lease *lease)
{
	Endpoint   *endpoint;

	if (!find_lease(delivery_id, lease))
		return NULL;
	note_begin();
	(void) bus_lock(BUS_LOCK_LANE, lease->endpoint_id, lease->lane, ExclusiveLock, true);
	if (!find_lease(delivery_id, lease))
		return NULL;
	endpoint = endpoint_by_id(lease->endpoint_id);
	if (endpoint != NULL)
		(void) lane_checked(endpoint, lease->lane);
	return endpoint;
}

/*
 * Removes a lease whose message has been dealt with; the lane's lock is held.
 * The breaker hears of it: of a probe whatever became of it.
 */
static void
close_lease(const Endpoint *endpoint, const Lease *lease, Outcome outcome)
{
	static SpiStatement delete = {
		"DELETE FROM message_bus.lease l WHERE l.delivery_id = $1"};
	Datum		id = Int64GetDatum(lease->delivery_id);
	LeaseNote  *note = lease_note_lane(endpoint, lease->lane);
	bool		counts = outcome != OUTCOME_MOVED && (lease->attempt == 1 || lease->probe);
	BreakerOutcome told = {counts, counts && outcome == OUTCOME_FAILED, lease->probe, clock_now()};

	breaker_note_outcome(endpoint, lease->message_type, &told);
	(void) spi_run_latest(&delete, 1, (Oid[]) {INT8OID}, &id, NULL);
	note->upto = lease->upto;
	note->acked += outcome == OUTCOME_ACKED;
}

/*
 * The leased message's row, and where it is if it had been set aside.
 */
static bool
read_message(const Endpoint *endpoint, const Lease *lease, RowValues *row, ItemPointer tid)
{
	HeapTuple	copy = NULL;
	TupleDesc	descriptor;

	for (int i = ROW_COLUMNS; i < ASIDE_COLUMNS; i++)
		row->nulls[i] = true;
	if (lease->position != 0)
	{
		LaneReader	reader;
		int64		position;
		HeapTuple	found;

		descriptor = ring_descriptor();
		lane_reader_begin(&reader, endpoint, lease->lane, lease->position - 1);
		found = lane_reader_next(&reader, &position);
		if (found != NULL && position == lease->position)
			copy = table_copy_row(found, descriptor);
		lane_reader_end(&reader);
	}
	else
	{
		TableScan	scan;
		ScanKeyData keys[2];
		HeapTuple	found;

		descriptor = aside_descriptor();
		key_uuid(&keys[0], 1, (pg_uuid_t *) &lease->message_id);
		key_int4(&keys[1], 2, BTEqualStrategyNumber, endpoint->id);
		table_scan_begin(&scan, &bus_aside_table, &bus_aside_id_index, 2, keys, NULL);
		found = table_scan_next(&scan, ForwardScanDirection);
		if (found != NULL)
		{
			*tid = found->t_self;
			table_keep_rows(&scan);
			copy = table_copy_row(found, descriptor);
		}
		table_scan_end(&scan);
	}
	if (copy != NULL)
		row_read(copy, descriptor, row);
	return copy != NULL;
}

static void
fail_lease(const Endpoint *endpoint, const Lease *lease, const Failure *why, bool retryable,
		   int64 receipt)
{
	TimestampTz now = clock_now();
	TimestampTz retry_at = ending_retry_at(endpoint, lease->attempt, retryable, now);
	RowValues	row;
	ItemPointerData tid;
	Failure		failure;

	if (!read_message(endpoint, lease, &row, &tid))
		ending_refuse(lease->delivery_id);
	failure = row_failure(&row, lease->attempt, now);
	failure.code = why->code;
	failure.text = why->text;
	if (lease->position == 0)
		table_delete(&bus_aside_table, &tid);
	if (retry_at == NEVER_DUE)
		dead_letter(endpoint, &row, "fault", &failure);
	else
	{
		aside_insert(&row, "retrying", retry_at, lease->attempt + 1, &failure, receipt);
		note_due(endpoint, lease->lane, retry_at);
	}
	close_lease(endpoint, lease, retryable ? OUTCOME_FAILED : OUTCOME_MOVED);
}

/*
 * Gives a message back: no attempt.
 */
static void
return_lease(const Endpoint *endpoint, const Lease *lease, TimestampTz due, const char *reason,
			 int64 receipt)
{
	bool		at_once = due == DUE_AT_ONCE;
	RowValues	row;
	ItemPointerData tid;
	Failure		failure;
	const Failure *noted = &failure;

	if (!read_message(endpoint, lease, &row, &tid))
		ending_refuse(lease->delivery_id);
	if (lease->position == 0)
		table_delete(&bus_aside_table, &tid);
	if (at_once)
		noted = row_failed_before(&row, &failure);
	else
	{
		failure = row_failure(&row, lease->attempt, clock_now());
		failure.text = reason;
	}
	aside_insert(&row, at_once ? "returned" : "retrying", due, lease->attempt, noted, receipt);
	note_due(endpoint, lease->lane, due);
	close_lease(endpoint, lease, OUTCOME_MOVED);
}

/*
 * Acks a message whose lease has expired and that nobody has received since.
 */
static bool
ack_late(int64 delivery_id)
{
	static SpiStatement find = {
		"SELECT a.endpoint_id, a.lane, a.message_id FROM message_bus.aside a"
		" WHERE a.receipt = $1 AND a.state IN ('retrying', 'returned', 'held')"
		" AND NOT EXISTS (SELECT FROM message_bus.lease l WHERE l.delivery_id = $1)"};
	Datum		id = Int64GetDatum(delivery_id);
	Lease		lease = {0};
	Endpoint   *endpoint;
	RowValues	row;
	ItemPointerData tid;
	bool		isnull;

	if (spi_run_latest(&find, 1, (Oid[]) {INT8OID}, &id, NULL) != 1)
		return false;
	lease.endpoint_id = spi_int32(0, 0, 0);
	lease.lane = spi_int32(0, 1, 0);
	lease.message_id = *DatumGetUUIDP(spi_value(0, 2, &isnull));
	note_begin();
	(void) bus_lock(BUS_LOCK_LANE, lease.endpoint_id, lease.lane, ExclusiveLock, true);
	endpoint = endpoint_by_id(lease.endpoint_id);
	if (endpoint == NULL || !read_message(endpoint, &lease, &row, &tid) ||
		row.nulls[ASIDE_RECEIPT] || DatumGetInt64(row.values[ASIDE_RECEIPT]) != delivery_id)
		return false;
	table_delete(&bus_aside_table, &tid);
	ending_remember(endpoint, &row);
	lease_note_lane(endpoint, lease.lane)->acked++;
	return true;
}

static int
compare_receipts(const void *a, const void *b)
{
	int64		left = *(const int64 *) a;
	int64		right = *(const int64 *) b;

	return left < right ? -1 : left > right;
}

PG_FUNCTION_INFO_V1(message_bus_extend_lease_sql);
/*
 * message_bus.extend_lease(delivery_ids, lease)
 */
Datum
message_bus_extend_lease_sql(PG_FUNCTION_ARGS)
{
	static SpiStatement extend = {
		"UPDATE message_bus.lease l SET leased_until = $2 WHERE l.delivery_id = $1"};
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(0);
	int			count = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	int64	   *ids = palloc(sizeof(int64) * Max(count, 1));
	TimestampTz until = lease_end(PG_GETARG_INTERVAL_P(1), false);

	PreventCommandIfReadOnly("message_bus.extend_lease()");
	if (array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("delivery_ids must not contain nulls"),
				 errhint("Pass the delivery_id of what message_bus.receive() gave.")));
	/* The array may lie in a page of somebody's table. */
	memcpy(ids, ARR_DATA_PTR(array), sizeof(int64) * count);
	qsort(ids, count, sizeof(int64), compare_receipts);
	spi_begin(SPI_AS_OWNER);
	for (int i = 0; i < count; i++)
	{
		Lease		lease;
		Endpoint   *endpoint = open_lease(ids[i], &lease);
		Datum		values[] = {Int64GetDatum(ids[i]), TimestampTzGetDatum(until)};

		if (endpoint == NULL)
			ending_refuse(ids[i]);
		(void) spi_run_latest(&extend, 2, (Oid[]) {INT8OID, TIMESTAMPTZOID}, values, NULL);
		(void) lease_note_lane(endpoint, lease.lane);
		if (lease.probe)
			breaker_note_probe_until(endpoint, lease.message_type, until);
	}
	spi_end();
	PG_RETURN_INT32(count);
}
