/*
 * watch.c
 *		Whose message a process handles, for when it dies of it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"

#include "message_bus/endpoint/death.h"
#include "message_bus/endpoint/endpoint.h"
#include "message_bus/endpoint/envelope.h"
#include "message_bus/go/watch.h"
#include "message_bus/know/note.h"
#include "message_bus/message_bus.h"
#include "pg/context.h"
#include "pg/spi.h"

static void watch(int number);
static void mark_handled(int64 delivery_id);

/*
 * Handles a delivery that has been read.  A lease is told so if that is committed
 * before the work; in a transaction block it cannot be: its row would be locked for
 * as long as the work takes.
 */
void
watch_delivery(const Delivery *delivery)
{
	Context		context;

	envelope_context(&delivery->row, &context);
	context_set(&context);
	if (delivery->kind == DELIVERY_HELD)
		watch(delivery->held);
	else if (!delivery->handled && !IsTransactionBlock() && !XactReadOnly)
		mark_handled(delivery->delivery_id);
}

static void
mark_handled(int64 delivery_id)
{
	static SpiStatement mark = {
		"UPDATE message_bus.lease l SET handled = true WHERE l.delivery_id = $1 AND NOT l.handled"};
	Datum		id = Int64GetDatum(delivery_id);

	spi_execute_latest(&mark, 1, (Oid[]) {INT8OID}, &id, NULL);
}

/*
 * The same without its context, for who handles many in a transaction.
 */
void
message_bus_watch(int64 delivery_id)
{
	int			number = held_delivery_find(delivery_id);

	if (number >= 0)
		watch(number);
}

static void
watch(int number)
{
	const HeldDelivery *delivery = held_delivery_get(number);
	const Endpoint *endpoint = held_lane_get(delivery->lane)->endpoint;
	WatchedMessage message = {delivery->message_id, delivery->message_type, delivery->deaths};

	message.counts = endpoint->breaker.enabled && delivery->guarded &&
		(delivery->attempt == 1 || delivery->probe);
	message.probe = delivery->probe;
	death_watch(endpoint, &message);
}

/*
 * For the saga engine; see message_bus.h.
 */
bool
message_bus_watch_parked(const char *name, const pg_uuid_t *message_id)
{
	Endpoint   *endpoint = endpoint_by_name(name, true);
	WatchedMessage message = {*message_id, "", 0, false, false};

	death_watch_another();
	if (endpoint == NULL)
		return true;
	if (death_count(endpoint, message_id) > 0)
	{
		/* It will be another message. */
		note_begin();
		death_forget(endpoint, message_id);
		return false;
	}
	death_watch(endpoint, &message);
	return true;
}

void
message_bus_watch_ends(void)
{
	death_watch_before();
}
