/*
 * topology.c
 *		What has to be there at the broker for what comes in: exchanges, the queue, and
 *		this consumer of it.
 *
 * The queue is a quorum queue, with one active consumer at a time if the bridge wants
 * the order kept.  One that is there already and differs is refused by the broker; then
 * somebody has to say what he wants (option declare).
 */
#include "bridge/topology.h"

#include <jansson.h>
#include <string.h>

#include "lib/text.h"

static bool make_exchanges(Wire *wire, json_t *topology);
static bool make_queue(Wire *wire, json_t *topology, const char *queue);
static bool bind_all(Wire *wire, json_t *topology, const char *queue);
static bool bind_queue(Wire *wire, const char *exchange, const char *queue, const char *key);
static bool start_consuming(Wire *wire, const char *queue, int prefetch);
static const char *text_of(json_t *object, const char *name);

/* Makes what a bridge's topology says, and consumes its queue. */
bool
topology_make(Wire *wire, const char *topology, int prefetch)
{
	json_t	   *json = json_loads(topology, 0, NULL);
	const char *queue = text_of(json, "queue");
	bool		declare = json_is_true(json_object_get(json, "declare"));
	bool		good;

	good = (!declare || (make_exchanges(wire, json) && make_queue(wire, json, queue) &&
						 bind_all(wire, json, queue))) &&
		start_consuming(wire, queue, prefetch);
	json_decref(json);
	return good;
}

static bool
make_exchanges(Wire *wire, json_t *topology)
{
	size_t		i;
	json_t	   *exchange;

	json_array_foreach(json_object_get(topology, "exchanges"), i, exchange)
	{
		/* amq.topic and the like are there, and nobody may make them. */
		if (strncmp(text_of(exchange, "exchange"), "amq.", 4) == 0)
			continue;
		amqp_exchange_declare(wire->state, WIRE_CHANNEL, wire_bytes(text_of(exchange, "exchange")),
							  wire_bytes(text_of(exchange, "type")), false, true, false, false,
							  amqp_empty_table);
		if (!wire_replied(wire, amqp_get_rpc_reply(wire->state)))
			return false;
	}
	return true;
}

static bool
make_queue(Wire *wire, json_t *topology, const char *queue)
{
	amqp_table_entry_t entries[2] = {
		{.key = wire_bytes("x-queue-type"),
		.value = {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = wire_bytes("quorum")}},
		{.key = wire_bytes("x-single-active-consumer"),
		.value = {.kind = AMQP_FIELD_KIND_BOOLEAN, .value.boolean = true}}
	};
	amqp_table_t arguments = {json_is_true(json_object_get(topology, "single")) ? 2 : 1, entries};

	amqp_queue_declare(wire->state, WIRE_CHANNEL, wire_bytes(queue), false, true, false, false,
					   arguments);
	return wire_replied(wire, amqp_get_rpc_reply(wire->state));
}

static bool
bind_all(Wire *wire, json_t *topology, const char *queue)
{
	bool		own = json_is_true(json_object_get(topology, "own_exchange"));
	size_t		i;
	json_t	   *binding;

	if (own && !bind_queue(wire, queue, queue, ""))
		return false;
	json_array_foreach(json_object_get(topology, "bindings"), i, binding)
	{
		const char *exchange = text_of(binding, "exchange");
		const char *key = text_of(binding, "routing_key");

		if (!own && !bind_queue(wire, exchange, queue, key))
			return false;
		if (!own)
			continue;
		amqp_exchange_bind(wire->state, WIRE_CHANNEL, wire_bytes(queue), wire_bytes(exchange),
						   wire_bytes(key), amqp_empty_table);
		if (!wire_replied(wire, amqp_get_rpc_reply(wire->state)))
			return false;
	}
	return true;
}

static bool
bind_queue(Wire *wire, const char *exchange, const char *queue, const char *key)
{
	amqp_queue_bind(wire->state, WIRE_CHANNEL, wire_bytes(queue), wire_bytes(exchange),
					wire_bytes(key), amqp_empty_table);
	return wire_replied(wire, amqp_get_rpc_reply(wire->state));
}

static bool
start_consuming(Wire *wire, const char *queue, int prefetch)
{
	amqp_basic_qos(wire->state, WIRE_CHANNEL, 0, (uint16_t) prefetch, false);
	if (!wire_replied(wire, amqp_get_rpc_reply(wire->state)))
		return false;
	amqp_basic_consume(wire->state, WIRE_CHANNEL, wire_bytes(queue), amqp_empty_bytes, false, false,
					   false, amqp_empty_table);
	return wire_replied(wire, amqp_get_rpc_reply(wire->state));
}

static const char *
text_of(json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}
