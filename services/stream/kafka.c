/*
 * kafka.c
 *		Kafka as a target: a transactional producer, whose transactions also hold the place.
 *
 * The transactional id is the sink's: whoever opens it fences the one before, and ends
 * what that one has left open.  The place is the newest committed record of a topic of
 * its own, which is compacted, so that it lasts; it is read after that.
 *
 * Settings in the file of brokers are librdkafka's own.
 */
#include "stream/target.h"

#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/sections.h"
#include "lib/text.h"
#include "stream/kafka_place.h"

/* Waiting goes on in slices, so that somebody can stop it. */
#define SLICE_MS 1000
#define OPEN_SLICES 30
#define COMMIT_SLICES 60
#define FLUSH_MS 100

typedef struct Kafka
{
	TargetOptions options;
	rd_kafka_t *producer;
	char		last_error[TARGET_ERROR];	/* that the library has told of */
	bool		hopeless;		/* the other side is not the one, or does not want us */
} Kafka;

static void *kafka_open(const TargetOptions *options, Place *place, char *error);
static bool kafka_publish(void *argument, const Parcel *parcel, char *error);
static void kafka_close(void *argument);
static rd_kafka_conf_t *read_settings(const TargetOptions *options, char *error);
static bool set(void *argument, const char *name, const char *value);
static void on_error(rd_kafka_t *client, int code, const char *reason, void *argument);
static void on_log(const rd_kafka_t *client, int level, const char *facility, const char *text);
static bool make_producer(Kafka *kafka, char *error);
static bool begin_epoch(Kafka *kafka, char *error);
static bool send_event(Kafka *kafka, const json_t *event, char *error);
static rd_kafka_headers_t *make_headers(const json_t *event);
static bool send_place(Kafka *kafka, const Place *place, char *error);
static bool settled(Kafka *kafka, rd_kafka_resp_err_t code, char *error);
static bool commit(Kafka *kafka, char *error);
static bool failed(Kafka *kafka, rd_kafka_error_t *why, char *error);

const TargetKind target_kafka = {"kafka", kafka_open, kafka_publish, kafka_close};

static void *
kafka_open(const TargetOptions *options, Place *place, char *error)
{
	Kafka	   *kafka = memory_zero(1, sizeof(*kafka));
	rd_kafka_conf_t *reading;

	kafka->options = *options;
	if (make_producer(kafka, error) && begin_epoch(kafka, error) &&
		(reading = read_settings(options, error)) != NULL &&
		kafka_place_read(options, reading, place, error))
		return kafka;
	kafka_close(kafka);
	return NULL;
}

static void
kafka_close(void *argument)
{
	Kafka	   *kafka = argument;

	if (kafka->producer)
	{
		rd_kafka_purge(kafka->producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
		rd_kafka_destroy(kafka->producer);
	}
	free(kafka);
}

/* What the file says of the broker; NULL and why if that is nothing. */
static rd_kafka_conf_t *
read_settings(const TargetOptions *options, char *error)
{
	rd_kafka_conf_t *settings = rd_kafka_conf_new();

	rd_kafka_conf_set_log_cb(settings, on_log);
	/* As Java's clients choose partitions. */
	set(settings, "partitioner", "murmur2_random");
	set(settings, "client.id", "streamd");
	if (section_read(options->brokers, target_option(options, "broker"), set, settings, error,
					 TARGET_ERROR))
		return settings;
	rd_kafka_conf_destroy(settings);
	return NULL;
}

static bool
set(void *argument, const char *name, const char *value)
{
	char		ignored[256];	/* it may show the value */

	return rd_kafka_conf_set(argument, name, value, ignored, sizeof(ignored)) == RD_KAFKA_CONF_OK;
}

static void
on_error(rd_kafka_t *client, int code, const char *reason, void *argument)
{
	Kafka	   *kafka = argument;

	(void) client;
	kafka->hopeless |= code == RD_KAFKA_RESP_ERR__SSL || code == RD_KAFKA_RESP_ERR__AUTHENTICATION;
	copy_string(kafka->last_error, sizeof(kafka->last_error), reason);
}

/* What matters is returned as errors. */
static void
on_log(const rd_kafka_t *client, int level, const char *facility, const char *text)
{
	(void) client;
	(void) level;
	(void) facility;
	(void) text;
}

static bool
make_producer(Kafka *kafka, char *error)
{
	rd_kafka_conf_t *settings = read_settings(&kafka->options, error);
	char		id[160];

	if (settings == NULL)
		return false;
	snprintf(id, sizeof(id), "ecommerce-sink-%s", kafka->options.sink);
	set(settings, "transactional.id", id);
	rd_kafka_conf_set_opaque(settings, kafka);
	rd_kafka_conf_set_error_cb(settings, on_error);
	kafka->producer = rd_kafka_new(RD_KAFKA_PRODUCER, settings, error, TARGET_ERROR);
	if (kafka->producer == NULL)
		rd_kafka_conf_destroy(settings);
	return kafka->producer != NULL;
}

/* From here on whoever had it before can commit nothing more. */
static bool
begin_epoch(Kafka *kafka, char *error)
{
	for (int i = 1;; i++)
	{
		rd_kafka_error_t *why = rd_kafka_init_transactions(kafka->producer, SLICE_MS);

		if (why == NULL)
			return true;
		rd_kafka_poll(kafka->producer, 0);
		if (i == OPEN_SLICES || kafka->hopeless || !rd_kafka_error_is_retriable(why) ||
			worker_stopping(kafka->options.worker))
			return failed(kafka, why, error);
		rd_kafka_error_destroy(why);
	}
}

/* One transaction: the events, and the place that the target is at then. */
static bool
kafka_publish(void *argument, const Parcel *parcel, char *error)
{
	Kafka	   *kafka = argument;
	rd_kafka_error_t *why = rd_kafka_begin_transaction(kafka->producer);
	size_t		i;
	json_t	   *event;

	if (why)
		return failed(kafka, why, error);
	json_array_foreach(parcel->events, i, event)
	{
		if (!send_event(kafka, event, error))
			return false;
	}
	return send_place(kafka, &parcel->place, error) && commit(kafka, error);
}

/* Its key is the stream, so that the order of a stream is kept. */
static bool
send_event(Kafka *kafka, const json_t *event, char *error)
{
	const char *key = event_text(event, "stream");
	const char *body = event_text(event, "body");
	rd_kafka_resp_err_t code;

	do
	{
		rd_kafka_headers_t *headers = make_headers(event);

		code = rd_kafka_producev(kafka->producer,
								 RD_KAFKA_V_TOPIC(target_option(&kafka->options, "topic")),
								 RD_KAFKA_V_KEY(key, strlen(key)),
								 RD_KAFKA_V_VALUE((void *) body, strlen(body)),
								 RD_KAFKA_V_HEADERS(headers),
								 RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
		if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
			rd_kafka_headers_destroy(headers);
	} while (!settled(kafka, code, error));
	return code == RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* A CloudEvent in binary mode. */
static rd_kafka_headers_t *
make_headers(const json_t *event)
{
	rd_kafka_headers_t *headers = rd_kafka_headers_new(16);
	json_t	   *attributes = json_object_get(event, "attributes");
	const char *name;
	json_t	   *value;

	rd_kafka_header_add(headers, "content-type", -1, "application/json", -1);
	json_object_foreach(attributes, name, value)
	{
		char		key[64];

		snprintf(key, sizeof(key), "ce_%s", name);
		rd_kafka_header_add(headers, key, -1, json_string_value(value), -1);
	}
	return headers;
}

static bool
send_place(Kafka *kafka, const Place *place, char *error)
{
	const char *sink = kafka->options.sink;
	char	   *text = place_text(place, sink);
	rd_kafka_resp_err_t code;

	do
		code = rd_kafka_producev(kafka->producer,
								 RD_KAFKA_V_TOPIC(target_option(&kafka->options, "positions")),
								 RD_KAFKA_V_PARTITION(0), RD_KAFKA_V_KEY(sink, strlen(sink)),
								 RD_KAFKA_V_VALUE(text, strlen(text)),
								 RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
	while (!settled(kafka, code, error));
	free(text);
	return code == RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* Whether there is no use in trying again; waits a little if there is. */
static bool
settled(Kafka *kafka, rd_kafka_resp_err_t code, char *error)
{
	if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL && !worker_stopping(kafka->options.worker))
	{
		rd_kafka_poll(kafka->producer, FLUSH_MS);
		return false;
	}
	if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
		copy_string(error, TARGET_ERROR, rd_kafka_err2str(code));
	return true;
}

/* Whether it was committed, when it says no, is known when the place is read again. */
static bool
commit(Kafka *kafka, char *error)
{
	for (int i = 1;; i++)
	{
		rd_kafka_error_t *why = rd_kafka_commit_transaction(kafka->producer, SLICE_MS);

		if (why == NULL)
			return true;
		rd_kafka_poll(kafka->producer, 0);
		if (i == COMMIT_SLICES || !rd_kafka_error_is_retriable(why) ||
			worker_stopping(kafka->options.worker))
			return failed(kafka, why, error);
		rd_kafka_error_destroy(why);
	}
}

static bool
failed(Kafka *kafka, rd_kafka_error_t *why, char *error)
{
	if (kafka->last_error[0] && rd_kafka_error_code(why) == RD_KAFKA_RESP_ERR__TIMED_OUT)
		copy_string(error, TARGET_ERROR, kafka->last_error);
	else
		copy_string(error, TARGET_ERROR, rd_kafka_error_string(why));
	rd_kafka_error_destroy(why);
	return false;
}
