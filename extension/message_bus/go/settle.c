/*
 * settle.c
 *		How deliveries end: acked, failed, skipped.
 *
 * For a message in the ring nothing is written when it is acked: the lane's
 * cursor will pass it.  A message that had been set aside is deleted there, and
 * its id goes to the ring once more so that it stays known for a while.
 *
 * What is done in a savepoint is undone with it: the rows by PostgreSQL, the
 * outcomes in held.c.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "base/errors.h"
#include "base/order.h"
#include "message_bus/endpoint/death.h"
#include "message_bus/endpoint/envelope.h"
#include "message_bus/go/ending.h"
#include "message_bus/go/lease.h"
#include "message_bus/go/outbox.h"
#include "message_bus/go/settle.h"
#include "message_bus/go/watch.h"
#include "message_bus/know/note.h"
#include "message_bus/know/table.h"
#include "message_bus/place/row.h"
#include "pg/argument.h"
#include "pg/clock.h"

static void ack(HeldDelivery *delivery);

/*
 * Acks deliveries, all of them or none; see message_bus.h.
 */
void
message_bus_ack(const int64 *delivery_ids, int count)
{
	int64	   *leased = NULL;
	int			leased_count = 0;

	for (int i = 0; i < count; i++)
	{
		HeldDelivery *delivery = held_delivery_find(delivery_ids[i]);

		if (delivery != NULL)
		{
			ack(delivery);
			continue;
		}
		if (leased == NULL)
			leased = palloc(sizeof(int64) * count);
		leased[leased_count++] = delivery_ids[i];
	}
	if (leased_count > 0)
		lease_ack(leased, leased_count);
}

static void
ack(HeldDelivery *delivery)
{
	if (delivery->position == 0)
	{
		RowValues	row;

		held_row_values(delivery, &row);
		table_delete(&bus_aside_table, &delivery->tid);
		ending_remember(held_lane_get(delivery->lane)->endpoint, &row);
	}
	death_forget(held_lane_get(delivery->lane)->endpoint, &delivery->message_id);
	held_settle(delivery, OUTCOME_ACKED);
}

/*
 * Fails a delivery: it waits for a retry, or becomes a dead letter.
 */
void
message_bus_fail(int64 delivery_id, const char *error_code, const char *error, bool retryable)
{
	HeldDelivery *delivery = held_delivery_find(delivery_id);
	Endpoint   *endpoint;
	RowValues	row;
	Failure		failure;
	TimestampTz now = clock_now();
	TimestampTz retry_at;

	if (delivery == NULL)
	{
		lease_fail(delivery_id, error_code, error, retryable);
		return;
	}
	endpoint = held_endpoint(delivery);
	held_row_values(delivery, &row);
	failure = row_failure(&row, delivery->attempt, now);
	failure.code = error_code;
	failure.text = error;
	retry_at = ending_retry_at(endpoint, delivery->attempt, retryable, now);
	if (retry_at == NEVER_DUE)
		ending_bury(endpoint, delivery, &row, "fault", &failure);
	else
	{
		if (delivery->position != 0)
			aside_insert(&row, "retrying", retry_at, delivery->attempt + 1, &failure, 0);
		else
			aside_update(&delivery->tid, &row, "retrying", retry_at, delivery->attempt + 1,
						 &failure);
		note_due(endpoint, held_lane_get(delivery->lane)->lane, retry_at);
		death_forget(endpoint, &delivery->message_id);
	}
	/* Looking at the endpoint's tables may have moved nothing of ours. */
	held_settle(held_delivery_find(delivery_id), retryable ? OUTCOME_FAILED : OUTCOME_MOVED);
}

/*
 * Skips a delivery: a dead letter that nobody handled.
 */
void
message_bus_skip(int64 delivery_id, const char *reason)
{
	HeldDelivery *delivery = held_delivery_find(delivery_id);
	RowValues	row;
	Failure		failure;

	if (delivery == NULL)
	{
		lease_skip(delivery_id, reason);
		return;
	}
	held_row_values(delivery, &row);
	failure = row_failure(&row, delivery->attempt, clock_now());
	failure.text = reason;
	ending_bury(held_endpoint(delivery), delivery, &row, "skipped", &failure);
	held_settle(delivery, OUTCOME_MOVED);
}

/*
 * Gives a delivery back for a while: it has not failed, its consumer cannot now.
 */
void
message_bus_snooze(int64 delivery_id, TimestampTz until, const char *reason)
{
	HeldDelivery *delivery = held_delivery_find(delivery_id);
	Endpoint   *endpoint;
	RowValues	row;
	Failure		failure;
	int32		attempt;

	if (delivery == NULL)
	{
		lease_snooze(delivery_id, until, reason);
		return;
	}
	endpoint = held_endpoint(delivery);
	attempt = delivery->attempt - delivery->deaths;
	held_row_values(delivery, &row);
	failure = row_failure(&row, attempt, clock_now());
	failure.text = reason;
	if (delivery->position != 0)
		aside_insert(&row, "retrying", until, attempt, &failure, 0);
	else
		aside_update(&delivery->tid, &row, "retrying", until, attempt, &failure);
	note_due(endpoint, held_lane_get(delivery->lane)->lane, until);
	held_settle(delivery, OUTCOME_MOVED);
}

/*
 * Handles a delivery: its context becomes the transaction's.
 */
void
message_bus_handle(int64 delivery_id)
{
	HeldDelivery *delivery = held_delivery_find(delivery_id);

	if (delivery == NULL)
		lease_handle(delivery_id);
	else
		watch_delivery(delivery);
}

PG_FUNCTION_INFO_V1(message_bus_ack_sql);
/*
 * message_bus.ack(VARIADIC delivery_ids)
 */
Datum
message_bus_ack_sql(PG_FUNCTION_ARGS)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(0);
	int			count = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));

	PreventCommandIfReadOnly("message_bus.ack()");
	if (array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("delivery_ids must not contain nulls"),
				 errhint("Pass the delivery_id of what message_bus.receive() gave.")));
	message_bus_ack((int64 *) ARR_DATA_PTR(array), count);
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
	if (PG_ARGISNULL(0) || PG_ARGISNULL(3))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("delivery_id and retryable must not be null"),
				 errhint("Pass the delivery_id of what message_bus.receive() gave.")));
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
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("delivery_id must not be null"),
				 errhint("Pass the delivery_id of what message_bus.receive() gave.")));
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
