/*
 * settle.c
 *		Ack, fail, skip, snooze, handle, for whoever has a delivery's receipt.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "base/order.h"
#include "message_bus/endpoint/breaker_note.h"
#include "message_bus/go/ending.h"
#include "message_bus/go/lease.h"
#include "message_bus/go/lease_note.h"
#include "message_bus/go/watch.h"
#include "message_bus/message_bus.h"
#include "pg/argument.h"
#include "pg/clock.h"
#include "pg/spi.h"

#define RECEIPT_HINT "Pass the delivery_id of what message_bus.receive() gave."

static int	compare_receipts(const void *a, const void *b);

/*
 * Acks deliveries, all of them or none; see message_bus.h.  Leases in the order of
 * their receipts, so that two callers take lanes in the same order.
 */
void
message_bus_ack(const int64 *delivery_ids, int count)
{
	int64	   *leased = NULL;
	int			leased_count = 0;
	Delivery	delivery;

	for (int i = 0; i < count; i++)
	{
		if (delivery_find_held(&delivery, delivery_ids[i]))
		{
			ending_ack(&delivery);
			continue;
		}
		if (leased == NULL)
			leased = palloc(sizeof(int64) * count);
		leased[leased_count++] = delivery_ids[i];
	}
	if (leased_count > 1)
		qsort(leased, leased_count, sizeof(int64), compare_receipts);
	for (int i = 0; i < leased_count; i++)
	{
		if (!delivery_find_leased(&delivery, leased[i]) &&
			!delivery_find_expired(&delivery, leased[i]))
			delivery_refuse(leased[i]);
		ending_ack(&delivery);
	}
}

static int
compare_receipts(const void *a, const void *b)
{
	int64		left = *(const int64 *) a;
	int64		right = *(const int64 *) b;

	return left < right ? -1 : left > right;
}

/*
 * Fails a delivery: it waits for a retry, or becomes a dead letter.
 */
void
message_bus_fail(int64 delivery_id, const char *error_code, const char *error, bool retryable)
{
	Delivery	delivery;

	delivery_open(&delivery, delivery_id);
	ending_fail(&delivery, error_code, error, retryable, 0);
}

/*
 * Skips a delivery: a dead letter that nobody handled.
 */
void
message_bus_skip(int64 delivery_id, const char *reason)
{
	Delivery	delivery;

	delivery_open(&delivery, delivery_id);
	ending_skip(&delivery, reason);
}

/*
 * Gives a delivery back for a while: it has not failed, its consumer cannot now.
 */
void
message_bus_snooze(int64 delivery_id, TimestampTz until, const char *reason)
{
	Delivery	delivery;

	delivery_open(&delivery, delivery_id);
	ending_snooze(&delivery, until, reason);
}

/*
 * Handles a delivery: its context becomes the transaction's.
 */
void
message_bus_handle(int64 delivery_id)
{
	Delivery	delivery;

	delivery_look(&delivery, delivery_id);
	watch_delivery(&delivery);
}

/*
 * Lets leases end so long from now.
 */
static void
extend_leases(int64 *delivery_ids, int count, TimestampTz until)
{
	static SpiStatement extend = {
		"UPDATE message_bus.lease l SET leased_until = $2 WHERE l.delivery_id = $1"};

	qsort(delivery_ids, count, sizeof(int64), compare_receipts);
	for (int i = 0; i < count; i++)
	{
		Delivery	delivery;
		Datum		values[] = {Int64GetDatum(delivery_ids[i]), TimestampTzGetDatum(until)};

		if (!delivery_find_leased(&delivery, delivery_ids[i]))
			delivery_refuse(delivery_ids[i]);
		spi_execute_latest(&extend, 2, (Oid[]) {INT8OID, TIMESTAMPTZOID}, values, NULL);
		(void) lease_note_lane(delivery.endpoint, delivery.lane);
		if (delivery.probe)
			breaker_note_probe_until(delivery.endpoint, delivery.message_type, until);
	}
}

/*
 * An argument of receipts, in memory of our own: the array may lie in a page of
 * somebody's table.
 */
static int64 *
receipts_argument(FunctionCallInfo fcinfo, int number, int *count)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(number);
	int64	   *receipts;

	*count = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	argument_check_elements(array, "delivery_ids", RECEIPT_HINT);
	receipts = palloc(sizeof(int64) * Max(*count, 1));
	memcpy(receipts, ARR_DATA_PTR(array), sizeof(int64) * *count);
	return receipts;
}

PG_FUNCTION_INFO_V1(message_bus_ack_sql);
/*
 * message_bus.ack(VARIADIC delivery_ids)
 */
Datum
message_bus_ack_sql(PG_FUNCTION_ARGS)
{
	int64	   *receipts;
	int			count;

	PreventCommandIfReadOnly("message_bus.ack()");
	receipts = receipts_argument(fcinfo, 0, &count);
	message_bus_ack(receipts, count);
	PG_RETURN_INT32(count);
}

PG_FUNCTION_INFO_V1(message_bus_fail_sql);
/*
 * message_bus.fail(delivery_id, error_code, error, retryable)
 */
Datum
message_bus_fail_sql(PG_FUNCTION_ARGS)
{
	PreventCommandIfReadOnly("message_bus.fail()");
	argument_not_null(&fcinfo->args[0], "delivery_id", RECEIPT_HINT);
	argument_not_null(&fcinfo->args[3], "retryable", "Pass false for what cannot heal, else true.");
	message_bus_fail(PG_GETARG_INT64(0),
					 PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1)),
					 PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2)),
					 PG_GETARG_BOOL(3));
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(message_bus_skip_sql);
/*
 * message_bus.skip(delivery_id, reason)
 */
Datum
message_bus_skip_sql(PG_FUNCTION_ARGS)
{
	PreventCommandIfReadOnly("message_bus.skip()");
	argument_not_null(&fcinfo->args[0], "delivery_id", RECEIPT_HINT);
	message_bus_skip(PG_GETARG_INT64(0),
					 PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1)));
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(message_bus_snooze_sql);
/*
 * message_bus.snooze(delivery_id, delay, reason)
 */
Datum
message_bus_snooze_sql(PG_FUNCTION_ARGS)
{
	TimestampTz now = clock_now();

	PreventCommandIfReadOnly("message_bus.snooze()");
	argument_not_null(&fcinfo->args[0], "delivery_id", "message_bus.receive() gives it.");
	argument_not_null(&fcinfo->args[1], "delay", "For example '10 s'.");
	message_bus_snooze(PG_GETARG_INT64(0),
					   greater(clock_after(now, PG_GETARG_INTERVAL_P(1), "delay"), now),
					   PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2)));
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(message_bus_handle_sql);
/*
 * message_bus.handle(delivery_id)
 */
Datum
message_bus_handle_sql(PG_FUNCTION_ARGS)
{
	message_bus_handle(PG_GETARG_INT64(0));
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(message_bus_extend_lease_sql);
/*
 * message_bus.extend_lease(delivery_ids, lease)
 */
Datum
message_bus_extend_lease_sql(PG_FUNCTION_ARGS)
{
	TimestampTz until = lease_end(PG_GETARG_INTERVAL_P(1), false);
	int64	   *receipts;
	int			count;

	PreventCommandIfReadOnly("message_bus.extend_lease()");
	receipts = receipts_argument(fcinfo, 0, &count);
	extend_leases(receipts, count, until);
	PG_RETURN_INT32(count);
}
