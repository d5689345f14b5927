/*
 * watch.c
 *		Whose message a process handles, for when it dies of it.
 */
#include "postgres.h"

#include "message_bus/endpoint/death.h"
#include "message_bus/endpoint/endpoint.h"
#include "message_bus/endpoint/envelope.h"
#include "message_bus/go/watch.h"
#include "message_bus/know/note.h"
#include "message_bus/message_bus.h"
#include "message_bus/place/row.h"
#include "pg/context.h"

static void watch(const HeldDelivery *delivery);

void
watch_delivery(HeldDelivery *delivery)
{
	RowValues	row;
	Context		context;

	held_row_values(delivery, &row);
	envelope_context(&row, &context);
	context_set(&context);
	watch(delivery);
}

/*
 * The same without its context, for who handles many in a transaction.
 */
void
message_bus_watch(int64 delivery_id)
{
	HeldDelivery *delivery = held_delivery_find(delivery_id);

	if (delivery != NULL)
		watch(delivery);
}

static void
watch(const HeldDelivery *delivery)
{
	const Endpoint *endpoint = held_endpoint(delivery);
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
