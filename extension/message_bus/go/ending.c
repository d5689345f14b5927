/*
 * ending.c
 *		How a delivery ends, whoever has it: acked, waiting for a retry, returned, dead.
 *
 * For a message in the ring nothing is written when it is acked: the lane's
 * cursor will pass it.  A message that had been set aside is deleted there, and
 * its id goes to the ring once more so that it stays known for a while.
 *
 * What is done in a savepoint is undone with it: the rows by PostgreSQL, the
 * outcomes in held.c.
 */
#include "postgres.h"

#include "message_bus/endpoint/death.h"
#include "message_bus/endpoint/envelope.h"
#include "message_bus/go/dead_letter.h"
#include "message_bus/go/ending.h"
#include "message_bus/go/outbox.h"
#include "message_bus/know/lane.h"
#include "message_bus/know/note.h"
#include "message_bus/place/aside.h"
#include "pg/clock.h"
#include "pg/writer.h"

static void remember(const Delivery *delivery);
static void set_aside(Delivery *delivery, const char *state, TimestampTz due, int32 attempt,
					  const Failure *failure, int64 receipt);
static void bury(Delivery *delivery, const char *reason, const Failure *failure);
static void forget_deaths(const Delivery *delivery);

/*
 * Its consumer is done with it.
 */
void
ending_ack(Delivery *delivery)
{
	if (delivery->position == 0 && delivery_read(delivery))
	{
		table_delete(&bus_aside_table, &delivery->tid);
		remember(delivery);
	}
	forget_deaths(delivery);
	delivery_close(delivery, OUTCOME_ACKED);
}

/*
 * Keeps the id of a message that was acked outside the ring known, by a row
 * without a lane.
 */
static void
remember(const Delivery *delivery)
{
	RowValues	memory = delivery->row;

	for (int i = ROW_HEADERS; i < ROW_COLUMNS; i++)
		memory.nulls[i] = true;
	memory.values[ROW_BODY] = JsonbPGetDatum(envelope_empty_object());
	memory.values[ROW_POSITION] = Int64GetDatum(0);
	memory.values[ROW_LANE] = Int32GetDatum(-1);
	outbox_remember(delivery->endpoint, &memory);
}

/*
 * Its consumer has failed: it waits for a retry, or becomes a dead letter.  The
 * receipt of a lease that has ended stays with it, unless 0: it will be handed out
 * alone.
 */
void
ending_fail(Delivery *delivery, const char *code, const char *text, bool retryable, int64 receipt)
{
	TimestampTz now = clock_now();
	int64		delay = retryable
		? retry_policy_delay(&delivery->endpoint->retry, delivery->attempt - 1)
		: -1;
	Failure		failure = row_failure(&delivery->row, delivery->attempt, now);

	failure.code = code;
	failure.text = text;
	if (delay < 0)
		bury(delivery, "fault", &failure);
	else
	{
		set_aside(delivery, "retrying", now + delay * 1000, delivery->attempt + 1, &failure,
				  receipt);
		forget_deaths(delivery);
	}
	delivery_close(delivery, retryable ? OUTCOME_FAILED : OUTCOME_MOVED);
}

/*
 * Sets a message aside, or lets one that was wait on.
 */
static void
set_aside(Delivery *delivery, const char *state, TimestampTz due, int32 attempt,
		  const Failure *failure, int64 receipt)
{
	if (delivery->position != 0)
		aside_insert(&delivery->row, state, due, attempt, failure, receipt);
	else
		aside_update(&delivery->tid, &delivery->row, state, due, attempt, failure, receipt);
	note_due(delivery->endpoint, delivery->lane, due);
}

/*
 * It becomes a dead letter.
 */
void
ending_bury(Delivery *delivery, const char *reason, const Failure *failure)
{
	bury(delivery, reason, failure);
	delivery_close(delivery, OUTCOME_MOVED);
}

static void
bury(Delivery *delivery, const char *reason, const Failure *failure)
{
	if (delivery->position == 0)
		table_delete(&bus_aside_table, &delivery->tid);
	forget_deaths(delivery);
	dead_letter(delivery->endpoint, &delivery->row, reason, failure);
}

/*
 * Deaths are those of processes that held it; a leased message has none.
 */
static void
forget_deaths(const Delivery *delivery)
{
	if (delivery->kind == DELIVERY_HELD)
		death_forget(delivery->endpoint, &delivery->message_id);
}

/*
 * Nobody wants it: a dead letter that has not failed.
 */
void
ending_skip(Delivery *delivery, const char *reason)
{
	Failure		failure = row_failure(&delivery->row, delivery->attempt, clock_now());

	failure.text = reason;
	ending_bury(delivery, "skipped", &failure);
}

/*
 * It has not failed, its consumer cannot now.
 */
void
ending_snooze(Delivery *delivery, TimestampTz until, const char *reason)
{
	int32		attempt = delivery->attempt - delivery->deaths;
	Failure		failure = row_failure(&delivery->row, attempt, clock_now());

	failure.text = reason;
	set_aside(delivery, "retrying", until, attempt, &failure, 0);
	delivery_close(delivery, OUTCOME_MOVED);
}

/*
 * It goes back at once, no attempt.  The receipt stays with it: it will be handed out
 * alone.
 */
void
ending_return(Delivery *delivery, int64 receipt)
{
	Failure		before;

	set_aside(delivery, "returned", DUE_AT_ONCE, delivery->attempt,
			  row_failed_before(&delivery->row, &before), receipt);
	delivery_close(delivery, OUTCOME_MOVED);
}

/*
 * It waits until its type's breaker lets it through, or others of its key are
 * settled.
 */
void
ending_wait(Delivery *delivery, const char *state)
{
	const RowValues *row = &delivery->row;
	Failure		before;

	set_aside(delivery, state, DUE_WHEN_RELEASED, delivery->attempt - delivery->deaths,
			  row_failed_before(row, &before),
			  row->nulls[ASIDE_RECEIPT] ? 0 : DatumGetInt64(row->values[ASIDE_RECEIPT]));
	delivery_close(delivery, OUTCOME_MOVED);
}
