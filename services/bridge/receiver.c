/*
 * receiver.c
 *		Messages from a queue of a broker, a batch at a time.
 *
 * The thread fills a batch while the loop has the one before committed; so batches are
 * as large as the traffic wants.  The broker gives no more than two batches without
 * having heard that one is safe.  What was given over a connection that is lost comes
 * again, and the database knows it.
 */
#include "bridge/receiver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/arrays.h"
#include "bridge/envelope.h"
#include "bridge/topology.h"
#include "bridge/wire.h"
#include "lib/context.h"
#include "lib/resilience.h"

#define RECONNECT_MIN_MS 100
#define RECONNECT_MAX_MS 5000
/* A batch of large messages ends earlier. */
#define MAX_BATCH_BYTES (8 * 1024 * 1024)

struct Receiver
{
	ReceiverOptions options;
	char	   *topology;
	Worker	   *worker;
	/* Shared; under the lock. */
	ReceivedBatch building;
	bool		out;			/* the loop has a batch */
	uint64_t	settled;		/* tag up to which the broker may be told, 0: nothing new */
	int			settled_connection;
	bool		changed;		/* state() is due */
	char		trouble[600];
	/* The thread's own. */
	Wire		wire;
	int			attempt;
	int			connection;		/* counts */
};

static void run(Worker *worker, void *argument);
static void on_told(void *argument);
static bool consume(Receiver *receiver);
static void note(Receiver *receiver, const char *trouble);
static bool pass_on(Receiver *receiver);
static bool read_some(Receiver *receiver);
static void add(Receiver *receiver, const amqp_envelope_t *envelope);
static bool read_frame(Receiver *receiver);
static void forget_building(Receiver *receiver);

Receiver *
receiver_open(const ReceiverOptions *options)
{
	Receiver   *receiver = memory_zero(1, sizeof(*receiver));
	WorkerOptions worker = {options->base, run, on_told, receiver};

	receiver->options = *options;
	receiver->topology = memory_string(options->topology);
	receiver->worker = worker_start(&worker);
	return receiver;
}

/*
 * Gives the batch that is there, which is the caller's then; false if none is, or he
 * has one.  Its text is to be freed.
 */
bool
receiver_take(Receiver *receiver, ReceivedBatch *batch)
{
	bool		taken;

	worker_lock(receiver->worker);
	taken = !receiver->out && receiver->building.count > 0;
	if (taken)
	{
		*batch = receiver->building;
		array_end(&batch->envelopes);
		receiver->building = (ReceivedBatch) {0};
		receiver->out = true;
	}
	worker_unlock(receiver->worker);
	/* There is room again. */
	if (taken)
		worker_wake(receiver->worker);
	return taken;
}

/* The batch is committed: the broker need not keep it. */
void
receiver_settled(Receiver *receiver, const ReceivedBatch *batch)
{
	worker_lock(receiver->worker);
	receiver->out = false;
	receiver->settled = batch->upto;
	receiver->settled_connection = batch->connection;
	worker_unlock(receiver->worker);
	worker_wake(receiver->worker);
}

void
receiver_close(Receiver *receiver)
{
	if (receiver == NULL)
		return;
	worker_stop(receiver->worker);
	text_free(&receiver->building.envelopes);
	free(receiver->topology);
	free(receiver);
}

static void
on_told(void *argument)
{
	Receiver   *receiver = argument;
	char		trouble[sizeof(receiver->trouble)];
	bool		changed;

	worker_lock(receiver->worker);
	changed = receiver->changed;
	receiver->changed = false;
	copy_string(trouble, sizeof(trouble), receiver->trouble);
	worker_unlock(receiver->worker);
	if (changed)
		receiver->options.state(receiver->options.argument, trouble[0] ? trouble : NULL);
	receiver->options.received(receiver->options.argument);
}

/* The thread. */
static void
run(Worker *worker, void *argument)
{
	Receiver   *receiver = argument;
	long		delay;

	receiver->wire.worker = worker;
	while (!worker_stopping(worker))
	{
		if (receiver->wire.state == NULL && !consume(receiver))
		{
			note(receiver, receiver->wire.error);
			delay = backoff_delay(receiver->attempt, RECONNECT_MIN_MS, RECONNECT_MAX_MS,
								  random_fraction());
			worker_wait(worker, -1, delay);
			continue;
		}
		if (!pass_on(receiver) || !read_some(receiver))
		{
			if (!worker_stopping(worker))
				note(receiver, receiver->wire.error);
			forget_building(receiver);
			wire_close(&receiver->wire);
		}
	}
	pass_on(receiver);
	wire_close(&receiver->wire);
}

/* Connects, makes what has to be there, and asks for messages. */
static bool
consume(Receiver *receiver)
{
	Wire	   *wire = &receiver->wire;
	Broker		broker;

	receiver->attempt++;
	receiver->connection++;
	if (!broker_find(receiver->options.brokers, receiver->options.broker, receiver->attempt,
					 &broker, wire->error, sizeof(wire->error)) ||
		!wire_connect(wire, &broker))
		return false;
	if (topology_make(wire, receiver->topology, 2 * receiver->options.batch))
	{
		receiver->attempt = 0;
		note(receiver, "");
		return true;
	}
	wire_close(wire);
	return false;
}

static void
note(Receiver *receiver, const char *trouble)
{
	worker_lock(receiver->worker);
	receiver->changed = true;
	copy_string(receiver->trouble, sizeof(receiver->trouble), trouble);
	worker_unlock(receiver->worker);
	worker_tell(receiver->worker);
}

/* Tells the broker what is safe. */
static bool
pass_on(Receiver *receiver)
{
	uint64_t	upto = 0;

	worker_lock(receiver->worker);
	/* A tag of a connection that is gone means nothing on this one. */
	if (receiver->settled_connection == receiver->connection)
		upto = receiver->settled;
	receiver->settled = 0;
	worker_unlock(receiver->worker);
	return upto == 0 || receiver->wire.state == NULL ||
		wire_sent(&receiver->wire,
				  amqp_basic_ack(receiver->wire.state, WIRE_CHANNEL, upto, true));
}

/* Reads what is there; waits for it if nothing is. */
static bool
read_some(Receiver *receiver)
{
	Wire	   *wire = &receiver->wire;
	bool		any = false;
	bool		full = false;

	while (!full)
	{
		struct timeval now = {0, 0};
		amqp_envelope_t envelope;
		amqp_rpc_reply_t reply;

		worker_lock(receiver->worker);
		full = receiver->building.count >= receiver->options.batch ||
			receiver->building.envelopes.length >= MAX_BATCH_BYTES;
		worker_unlock(receiver->worker);
		if (full)
			break;
		amqp_maybe_release_buffers(wire->state);
		reply = amqp_consume_message(wire->state, &envelope, &now, 0);
		if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION &&
			reply.library_error == AMQP_STATUS_TIMEOUT)
			break;
		if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION &&
			reply.library_error == AMQP_STATUS_UNEXPECTED_STATE)
		{
			if (!read_frame(receiver))
				return false;
			continue;
		}
		if (!wire_replied(wire, reply))
			return false;
		add(receiver, &envelope);
		amqp_destroy_envelope(&envelope);
		any = true;
	}
	if (any || full)
		worker_tell(receiver->worker);
	/* What is full is not read on; the broker must not take us for dead. */
	if (full && !wire_beat(wire))
		return false;
	worker_wait(receiver->worker, full ? -1 : wire_socket(wire),
				full ? wire->heartbeat * 250 : wire->heartbeat * 500);
	return true;
}

static void
add(Receiver *receiver, const amqp_envelope_t *envelope)
{
	Text		json = {0};
	ReceivedBatch *batch = &receiver->building;

	envelope_write(&json, envelope);
	worker_lock(receiver->worker);
	if (batch->count == 0)
		array_begin(&batch->envelopes);
	array_add_text(&batch->envelopes, json.data);
	batch->count++;
	batch->upto = envelope->delivery_tag;
	batch->connection = receiver->connection;
	worker_unlock(receiver->worker);
	text_free(&json);
}

/* Something else than a message: the queue was deleted, or the broker wants to close. */
static bool
read_frame(Receiver *receiver)
{
	Wire	   *wire = &receiver->wire;
	amqp_frame_t frame;
	bool		any;

	if (!wire_next_frame(wire, 0, &frame, &any))
		return false;
	if (any && frame.frame_type == AMQP_FRAME_METHOD &&
		frame.payload.method.id == AMQP_BASIC_CANCEL_METHOD)
	{
		copy_string(wire->error, sizeof(wire->error), "the queue was deleted");
		return false;
	}
	return true;
}

/* What was not taken yet comes again over the next connection. */
static void
forget_building(Receiver *receiver)
{
	worker_lock(receiver->worker);
	text_free(&receiver->building.envelopes);
	receiver->building = (ReceivedBatch) {0};
	worker_unlock(receiver->worker);
}
