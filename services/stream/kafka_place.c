/*
 * kafka_place.c
 *		Where a topic of Kafka says how far a sink is.
 *
 * The topic has one partition and is compacted; its newest committed record counts.  It
 * is made if it is missing, and never by the broker of itself: one that is not compacted
 * would forget.
 */
#include "stream/kafka_place.h"

#include <stdio.h>

#include "lib/text.h"

#define SLICE_MS 1000
#define READ_SLICES 20
#define MAKE_MS 10000
/* The newest record is among so many, but for transactions that were given up. */
#define TAIL 1000

typedef struct Reading
{
	const TargetOptions *options;
	const char *name;			/* of the topic */
	rd_kafka_t *client;
	int64_t		low;
	int64_t		high;
} Reading;

static bool find_range(Reading *reading, char *error);
static bool make_topic(const Reading *reading, char *error);
static bool read_from(const Reading *reading, int64_t offset, Place *place, char *error);
static bool take(const Reading *reading, rd_kafka_message_t *message, Place *place, bool *end,
				 char *error);

/* Reads it; not known if there is none.  The settings are gone then. */
bool
kafka_place_read(const TargetOptions *options, rd_kafka_conf_t *settings, Place *place,
				 char *error)
{
	Reading		reading = {options, target_option(options, "positions")};
	bool		good;

	rd_kafka_conf_set(settings, "isolation.level", "read_committed", NULL, 0);
	rd_kafka_conf_set(settings, "enable.partition.eof", "true", NULL, 0);
	rd_kafka_conf_set(settings, "allow.auto.create.topics", "false", NULL, 0);
	rd_kafka_conf_set(settings, "fetch.wait.max.ms", "100", NULL, 0);
	reading.client = rd_kafka_new(RD_KAFKA_CONSUMER, settings, error, TARGET_ERROR);
	if (reading.client == NULL)
	{
		rd_kafka_conf_destroy(settings);
		return false;
	}
	good = find_range(&reading, error);
	if (good && reading.high > reading.low)
	{
		int64_t		tail = reading.high - reading.low > TAIL ? reading.high - TAIL : reading.low;

		good = read_from(&reading, tail, place, error);
		if (good && !place->known && tail > reading.low)
			good = read_from(&reading, reading.low, place, error);
	}
	rd_kafka_destroy(reading.client);
	return good;
}

/* Which records the topic has. */
static bool
find_range(Reading *reading, char *error)
{
	rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__TIMED_OUT;
	bool		made = false;

	for (int i = 0; i < READ_SLICES && !worker_stopping(reading->options->worker); i++)
	{
		code = rd_kafka_query_watermark_offsets(reading->client, reading->name, 0, &reading->low,
												&reading->high, SLICE_MS);
		if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
			return true;
		if (code != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART &&
			code != RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC &&
			code != RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION)
			continue;
		if (!made && !make_topic(reading, error))
			return false;
		made = true;
		rd_kafka_poll(reading->client, SLICE_MS / 10);
	}
	snprintf(error, TARGET_ERROR, "topic %s cannot be read: %s", reading->name,
			 rd_kafka_err2str(code));
	return false;
}

static bool
make_topic(const Reading *reading, char *error)
{
	rd_kafka_queue_t *queue = rd_kafka_queue_new(reading->client);
	rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(reading->name, 1, -1, error, TARGET_ERROR);
	rd_kafka_event_t *event;
	rd_kafka_resp_err_t code;

	rd_kafka_NewTopic_set_config(topic, "cleanup.policy", "compact");
	rd_kafka_CreateTopics(reading->client, &topic, 1, NULL, queue);
	event = rd_kafka_queue_poll(queue, MAKE_MS);
	code = event ? rd_kafka_event_error(event) : RD_KAFKA_RESP_ERR__TIMED_OUT;
	if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
	{
		size_t		count;
		const rd_kafka_topic_result_t **results = rd_kafka_CreateTopics_result_topics(
			rd_kafka_event_CreateTopics_result(event), &count);

		code = count > 0 ? rd_kafka_topic_result_error(results[0]) : RD_KAFKA_RESP_ERR_NO_ERROR;
	}
	rd_kafka_event_destroy(event);
	rd_kafka_NewTopic_destroy(topic);
	rd_kafka_queue_destroy(queue);
	if (code == RD_KAFKA_RESP_ERR_NO_ERROR || code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
		return true;
	snprintf(error, TARGET_ERROR, "topic %s is missing and cannot be made: %s", reading->name,
			 rd_kafka_err2str(code));
	return false;
}

/* Reads from there to the end of what is committed; the last record counts. */
static bool
read_from(const Reading *reading, int64_t offset, Place *place, char *error)
{
	rd_kafka_topic_t *topic = rd_kafka_topic_new(reading->client, reading->name, NULL);
	bool		end = false;
	bool		good = rd_kafka_consume_start(topic, 0, offset) == 0;

	snprintf(error, TARGET_ERROR, "topic %s cannot be read to its end", reading->name);
	for (int slices = 0; good && !end;)
	{
		rd_kafka_message_t *message = rd_kafka_consume(topic, 0, SLICE_MS);

		if (message)
		{
			good = take(reading, message, place, &end, error);
			rd_kafka_message_destroy(message);
		}
		else if (++slices == READ_SLICES || worker_stopping(reading->options->worker))
			good = false;
	}
	rd_kafka_consume_stop(topic, 0);
	rd_kafka_topic_destroy(topic);
	if (good)
		error[0] = '\0';
	return good;
}

static bool
take(const Reading *reading, rd_kafka_message_t *message, Place *place, bool *end, char *error)
{
	if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR)
		return place_parse(place, reading->options->sink, message->payload, message->len, error,
						   TARGET_ERROR);
	*end = message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
	if (*end)
		return true;
	snprintf(error, TARGET_ERROR, "topic %s cannot be read: %s", reading->name,
			 rd_kafka_err2str(message->err));
	return false;
}
