/*
 * kafka_place.h
 *		Where a topic of Kafka says how far a sink is.
 */
#ifndef SERVICES_STREAM_KAFKA_PLACE_H
#define SERVICES_STREAM_KAFKA_PLACE_H

#include <librdkafka/rdkafka.h>

#include "stream/target.h"

bool		kafka_place_read(const TargetOptions *options, rd_kafka_conf_t *settings,
							 Place *place, char *error);

#endif
