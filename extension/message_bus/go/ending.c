/*
 * ending.c
 *		How a delivery ends, whoever held it: dead, waiting, remembered.
 */
#include "postgres.h"

#include "base/errors.h"
#include "message_bus/endpoint/death.h"
#include "message_bus/endpoint/envelope.h"
#include "message_bus/go/dead_letter.h"
#include "message_bus/go/ending.h"
#include "message_bus/go/outbox.h"
#include "message_bus/know/lane.h"
#include "message_bus/know/note.h"
#include "message_bus/know/table.h"
#include "message_bus/place/row.h"

/*
 * When the next attempt is due, NEVER_DUE if there is none.
 */
TimestampTz
ending_retry_at(const Endpoint *endpoint, int32 attempt, bool retryable, TimestampTz now)
{
	int64		delay = retryable ? retry_policy_delay(&endpoint->retry, attempt - 1) : -1;

	return delay < 0 ? NEVER_DUE : now + delay * 1000;
}

/*
 * Makes a dead letter of a delivery.  The caller notes the outcome.
 */
void
ending_bury(const Endpoint *endpoint, HeldDelivery *delivery, const RowValues *row,
			const char *reason, const Failure *failure)
{
	if (delivery->position == 0)
		table_delete(&bus_aside_table, &delivery->tid);
	death_forget(endpoint, &delivery->message_id);
	dead_letter(endpoint, row, reason, failure);
}

/*
 * Sets a message aside until its type's breaker lets it through, or others of its
 * key are settled.
 */
void
ending_wait(const Endpoint *endpoint, HeldDelivery *delivery, const RowValues *row,
			const char *state)
{
	int32		attempt = delivery->attempt - delivery->deaths;

	if (delivery->position != 0)
		aside_insert(row, state, DUE_WHEN_RELEASED, attempt, NULL, 0);
	else
	{
		Failure		before;

		aside_update(&delivery->tid, row, state, DUE_WHEN_RELEASED, attempt,
					 row_failed_before(row, &before));
	}
	note_due(endpoint, held_lane_get(delivery->lane)->lane, DUE_WHEN_RELEASED);
	held_settle(delivery, OUTCOME_MOVED);
}

/*
 * Keeps the id of a message that was acked outside the ring known, by a row
 * without a lane.
 */
void
ending_remember(const Endpoint *endpoint, const RowValues *row)
{
	RowValues	memory = *row;

	for (int i = ROW_HEADERS; i < ROW_COLUMNS; i++)
		memory.nulls[i] = true;
	memory.values[ROW_BODY] = JsonbPGetDatum(envelope_empty_object());
	memory.values[ROW_POSITION] = Int64GetDatum(0);
	memory.values[ROW_LANE] = Int32GetDatum(-1);
	outbox_remember(endpoint, &memory);
}

void
ending_refuse(int64 delivery_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_MB_STALE_DELIVERY),
			 errmsg("delivery " INT64_FORMAT " is not yours", delivery_id),
			 errdetail("It is unknown, settled already, or has passed on to somebody else."),
			 errhint("Receive the message again; what was done for it may have to be undone.")));
}
