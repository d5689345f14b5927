/*
 * publisher.c
 *		Messages to a broker: a batch at a time, until the broker has confirmed it.
 *
 * While the thread has a batch the batch is the thread's; the loop gets it back with
 * done().  Items that are settled are left alone, so that a batch can be given again
 * until all of it is.  What the broker negatively acknowledges stays pending: a queue is
 * full, or has no leader.
 *
 * A broker closes the channel for one message that it does not like, and does not say
 * for which.  Then the batch goes message by message, and the one that does it again is
 * refused.
 */
#include "bridge/publisher.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/envelope.h"
#include "bridge/wire.h"
#include "lib/text.h"

/* The broker confirms within that time, or the connection is given up. */
#define CONFIRM_MS 30000
#define MAX_KNOWN 512
/* Bytes of a name in AMQP. */
#define MAX_NAME 255

struct Publisher
{
	PublisherOptions options;
	Worker	   *worker;
	/* Shared; under the lock. */
	PublishItem *given;
	int			ngiven;
	bool		ready;			/* done() is due */
	char		trouble[600];
	/* The thread's own. */
	Wire		wire;
	int			attempt;
	bool		careful;		/* one at a time */
	unsigned long long tag;
	char	   *known[MAX_KNOWN];	/* exchanges that are there */
	int			nknown;
};

static void run(Worker *worker, void *argument);
static void on_told(void *argument);
static bool connect_broker(Publisher *publisher);
static bool select_confirms(Publisher *publisher);
static bool publish(Publisher *publisher, PublishItem *items, int count);
static bool publish_portion(Publisher *publisher, PublishItem *items, int count);
static bool send_item(Publisher *publisher, PublishItem *item);
static bool find_exchange(Publisher *publisher, PublishItem *item);
static bool wait_confirms(Publisher *publisher, PublishItem *items, int count);
static void settle(PublishItem *items, int count, const amqp_method_t *method);
static bool take_return(Publisher *publisher, PublishItem *items, int count,
						const amqp_basic_return_t *returned);
static bool channel_lost(Publisher *publisher, PublishItem *items, int count);
static void refuse(PublishItem *item, const char *error);
static void forget_exchanges(Publisher *publisher);
static bool any_pending(const PublishItem *items, int count);

Publisher *
publisher_open(const PublisherOptions *options)
{
	Publisher  *publisher = memory_zero(1, sizeof(*publisher));
	WorkerOptions worker = {options->base, run, on_told, publisher};

	publisher->options = *options;
	publisher->worker = worker_start(&worker);
	return publisher;
}

/* Hands a batch over; it must be left alone until done(). None under way. */
void
publisher_publish(Publisher *publisher, PublishItem *items, int count)
{
	worker_lock(publisher->worker);
	publisher->given = items;
	publisher->ngiven = count;
	worker_unlock(publisher->worker);
	worker_wake(publisher->worker);
}

void
publisher_close(Publisher *publisher)
{
	if (publisher == NULL)
		return;
	worker_stop(publisher->worker);
	free(publisher);
}

static void
on_told(void *argument)
{
	Publisher  *publisher = argument;
	char		trouble[sizeof(publisher->trouble)];
	bool		ready;

	worker_lock(publisher->worker);
	ready = publisher->ready;
	publisher->ready = false;
	copy_string(trouble, sizeof(trouble), publisher->trouble);
	worker_unlock(publisher->worker);
	if (ready)
		publisher->options.done(publisher->options.argument, trouble[0] ? trouble : NULL);
}

/* The thread. */
static void
run(Worker *worker, void *argument)
{
	Publisher  *publisher = argument;

	publisher->wire.worker = worker;
	while (!worker_stopping(worker))
	{
		PublishItem *items;
		bool		good;

		worker_lock(worker);
		items = publisher->given;
		publisher->given = NULL;
		worker_unlock(worker);
		if (items == NULL)
		{
			if (publisher->wire.state && !wire_alive(&publisher->wire))
				wire_close(&publisher->wire);
			worker_wait(worker, wire_socket(&publisher->wire),
						publisher->wire.state ? publisher->wire.heartbeat * 500 : -1);
			continue;
		}
		good = connect_broker(publisher) && publish(publisher, items, publisher->ngiven);
		worker_lock(worker);
		publisher->ready = true;
		copy_string(publisher->trouble, sizeof(publisher->trouble),
					good ? "" : publisher->wire.error);
		worker_unlock(worker);
		worker_tell(worker);
	}
	wire_close(&publisher->wire);
	forget_exchanges(publisher);
}

static bool
connect_broker(Publisher *publisher)
{
	Wire	   *wire = &publisher->wire;
	Broker		broker;

	if (wire->state)
		return true;
	forget_exchanges(publisher);
	if (!broker_find(publisher->options.brokers, publisher->options.broker, publisher->attempt++,
					 &broker, wire->error, sizeof(wire->error)) ||
		!wire_connect(wire, &broker))
		return false;
	if (select_confirms(publisher))
		return true;
	wire_close(wire);
	return false;
}

/* Of a channel that is new: the broker says what it has taken, and counts from 1. */
static bool
select_confirms(Publisher *publisher)
{
	publisher->tag = 0;
	amqp_confirm_select(publisher->wire.state, WIRE_CHANNEL);
	return wire_replied(&publisher->wire, amqp_get_rpc_reply(publisher->wire.state));
}

/* Publishes what is pending of a batch; true if all of it is settled. */
static bool
publish(Publisher *publisher, PublishItem *items, int count)
{
	int			portion = publisher->careful ? 1 : count;

	for (int i = 0; i < count; i += portion)
	{
		if (!publish_portion(publisher, items + i, portion) &&
			!channel_lost(publisher, items + i, portion))
			return false;
	}
	publisher->careful = false;
	if (any_pending(items, count))
	{
		copy_string(publisher->wire.error, sizeof(publisher->wire.error),
					"the broker has not taken a message: a queue is full, or has no leader");
		return false;
	}
	return true;
}

static bool
publish_portion(Publisher *publisher, PublishItem *items, int count)
{
	/* What is not there closes the channel: found out before anything is under way. */
	for (int i = 0; i < count; i++)
	{
		items[i].tag = 0;
		items[i].returned = false;
		if (items[i].outcome == ITEM_PENDING && !find_exchange(publisher, &items[i]))
			return false;
	}
	for (int i = 0; i < count; i++)
		if (items[i].outcome == ITEM_PENDING && !send_item(publisher, &items[i]))
			return false;
	return wait_confirms(publisher, items, count);
}

static bool
send_item(Publisher *publisher, PublishItem *item)
{
	Wire	   *wire = &publisher->wire;
	amqp_basic_properties_t properties;
	amqp_pool_t pool;
	bool		good;

	init_amqp_pool(&pool, 4096);
	envelope_properties(item->envelope, &pool, &properties);
	good = wire_published(wire, amqp_basic_publish(
		wire->state, WIRE_CHANNEL,
		wire_bytes(json_string_value(json_object_get(item->envelope, "exchange"))),
		wire_bytes(json_string_value(json_object_get(item->envelope, "routing_key"))),
		true, false, &properties,
		wire_bytes(json_string_value(json_object_get(item->envelope, "body")))));
	empty_amqp_pool(&pool);
	if (good)
		item->tag = ++publisher->tag;
	return good;
}

/*
 * Makes the exchange, or looks whether it is there if it is not for us to make; the
 * item is refused if it is not.  False if the connection is lost.
 */
static bool
find_exchange(Publisher *publisher, PublishItem *item)
{
	Wire	   *wire = &publisher->wire;
	const char *exchange = json_string_value(json_object_get(item->envelope, "exchange"));
	const char *type = json_string_value(json_object_get(item->envelope, "exchange_type"));

	if (exchange == NULL || *exchange == '\0')
		return true;
	if (strlen(exchange) > MAX_NAME)
	{
		refuse(item, "the name of its exchange is too long for AMQP");
		return true;
	}
	for (int i = 0; i < publisher->nknown; i++)
		if (strcmp(publisher->known[i], exchange) == 0)
			return true;
	amqp_exchange_declare(wire->state, WIRE_CHANNEL, wire_bytes(exchange),
						  wire_bytes(type ? type : "fanout"), type == NULL, true, false, false,
						  amqp_empty_table);
	if (!wire_replied(wire, amqp_get_rpc_reply(wire->state)))
	{
		if (wire->code != 404 || type)
			return false;
		refuse(item, wire->error);
		return wire_open_channel(wire) && select_confirms(publisher);
	}
	/* Exchanges of who waits for an answer go with him. */
	if (type && publisher->nknown < MAX_KNOWN)
		publisher->known[publisher->nknown++] = memory_string(exchange);
	return true;
}

/* Waits until the broker has said of each what became of it. */
static bool
wait_confirms(Publisher *publisher, PublishItem *items, int count)
{
	Wire	   *wire = &publisher->wire;
	bool		any = true;

	for (;;)
	{
		amqp_frame_t frame;
		int			waiting = 0;

		for (int i = 0; i < count; i++)
			waiting += items[i].tag != 0;
		if (waiting == 0)
			return true;
		amqp_maybe_release_buffers(wire->state);
		if (!wire_next_frame(wire, CONFIRM_MS, &frame, &any))
			return false;
		if (!any)
		{
			wire->code = 0;
			copy_string(wire->error, sizeof(wire->error), "the broker confirms nothing");
			return false;
		}
		if (frame.frame_type != AMQP_FRAME_METHOD)
			continue;
		if (frame.payload.method.id == AMQP_BASIC_RETURN_METHOD &&
			!take_return(publisher, items, count, frame.payload.method.decoded))
			return false;
		settle(items, count, &frame.payload.method);
	}
}

/* The broker has taken, or not taken, one message or all up to one. */
static void
settle(PublishItem *items, int count, const amqp_method_t *method)
{
	bool		taken = method->id == AMQP_BASIC_ACK_METHOD;
	unsigned long long tag;
	bool		multiple;

	if (!taken && method->id != AMQP_BASIC_NACK_METHOD)
		return;
	tag = taken ? ((amqp_basic_ack_t *) method->decoded)->delivery_tag
		: ((amqp_basic_nack_t *) method->decoded)->delivery_tag;
	multiple = taken ? ((amqp_basic_ack_t *) method->decoded)->multiple
		: ((amqp_basic_nack_t *) method->decoded)->multiple;
	for (int i = 0; i < count; i++)
	{
		PublishItem *item = &items[i];

		if (item->tag == 0 || (multiple ? item->tag > tag : item->tag != tag))
			continue;
		item->tag = 0;
		if (!taken)
			continue;
		item->outcome = item->returned ? ITEM_REFUSED : ITEM_CONFIRMED;
	}
}

/* No queue wants it; the broker's confirmation follows. */
static bool
take_return(Publisher *publisher, PublishItem *items, int count,
			const amqp_basic_return_t *returned)
{
	Wire	   *wire = &publisher->wire;
	amqp_message_t message;
	char		error[400];

	snprintf(error, sizeof(error), "%.*s (exchange \"%.*s\", routing key \"%.*s\")",
			 (int) returned->reply_text.len, (const char *) returned->reply_text.bytes,
			 (int) returned->exchange.len, (const char *) returned->exchange.bytes,
			 (int) returned->routing_key.len, (const char *) returned->routing_key.bytes);
	if (!wire_replied(wire, amqp_read_message(wire->state, WIRE_CHANNEL, &message, 0)))
		return false;
	for (int i = 0; i < count; i++)
	{
		const char *id = json_string_value(
			json_object_get(json_object_get(items[i].envelope, "properties"), "message_id"));

		if (items[i].tag == 0 || id == NULL || strlen(id) != message.properties.message_id.len ||
			memcmp(id, message.properties.message_id.bytes, strlen(id)) != 0)
			continue;
		refuse(&items[i], error);
		items[i].outcome = ITEM_PENDING;
		items[i].returned = true;
	}
	amqp_destroy_message(&message);
	return true;
}

/*
 * After a failure: true if it was about one message, which is refused, and the next may
 * follow.  Else the connection is given up.
 */
static bool
channel_lost(Publisher *publisher, PublishItem *items, int count)
{
	Wire	   *wire = &publisher->wire;
	/* Something is wrong with the message, not with who we are: its size, its exchange. */
	bool		message = wire->code == 404 || wire->code == 406 || wire->code == 311 ||
		wire->code == WIRE_UNSENDABLE;
	char		error[sizeof(wire->error)];

	forget_exchanges(publisher);
	copy_string(error, sizeof(error), wire->error);
	if (message && publisher->careful && count == 1)
	{
		if (items[0].outcome == ITEM_PENDING)
			refuse(&items[0], error);
	}
	else
		publisher->careful = message;
	wire_close(wire);
	if (message && count == 1 && items[0].outcome != ITEM_PENDING && connect_broker(publisher))
		return true;
	copy_string(wire->error, sizeof(wire->error), error);
	return false;
}

static void
refuse(PublishItem *item, const char *error)
{
	free(item->error);
	item->error = memory_string(error);
	utf8_repair(item->error);
	item->outcome = ITEM_REFUSED;
}

static void
forget_exchanges(Publisher *publisher)
{
	while (publisher->nknown > 0)
		free(publisher->known[--publisher->nknown]);
}

static bool
any_pending(const PublishItem *items, int count)
{
	for (int i = 0; i < count; i++)
		if (items[i].outcome == ITEM_PENDING)
			return true;
	return false;
}
