/*
 * partition.h
 *		Into which partition of a subscription an event falls.
 */
#ifndef ECOMMERCE_EVENT_STORE_READ_PARTITION_H
#define ECOMMERCE_EVENT_STORE_READ_PARTITION_H

#include "postgres.h"

#include "event_store/read/read.h"

/* What the events of a partition have in common, if not the stream. */
struct PartitionBy
{
	bool		of_metadata;	/* the path leads through the metadata, not the data */
	Datum		path;			/* jsonpath */
};

extern void partition_by_check(const char *text);
extern PartitionBy *partition_by_parse(const char *text);
extern int	event_partition(const EventFilter *filter, const Event *event, int partitions);

#endif
