/*
 * row.h
 *		A message as a row of one of our tables, taken apart; how it has failed.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_PLACE_ROW_H
#define ECOMMERCE_MESSAGE_BUS_PLACE_ROW_H

#include "postgres.h"

#include "access/htup.h"
#include "access/tupdesc.h"
#include "datatype/timestamp.h"

#include "message_bus/know/handle.h"
#include "message_bus/know/relations.h"

/* A row of the ring, of message_bus.aside or message_bus.dead, taken apart. */
typedef struct RowValues
{
	Datum		values[ASIDE_COLUMNS];
	bool		nulls[ASIDE_COLUMNS];
} RowValues;

StaticAssertDecl((int) ASIDE_COLUMNS >= (int) DEAD_COLUMNS, "RowValues must hold any row");

/* How a message failed, so far. */
typedef struct Failure
{
	int32		attempts;
	const char *code;			/* may be NULL, the text too */
	const char *text;
	TimestampTz first_at;
	TimestampTz last_at;
} Failure;

extern bool row_exists(ExtensionRelation *table, ExtensionRelation *index,
					   const Endpoint *endpoint, const pg_uuid_t *message_id);
extern void rows_find(ExtensionRelation *table, ExtensionRelation *index,
					  const Endpoint *endpoint, const pg_uuid_t *message_ids, int count,
					  bool *found);
extern void row_read(HeapTuple row, TupleDesc descriptor, RowValues *values);
extern Failure row_failure(const RowValues *row, int32 attempts, TimestampTz now);
extern const Failure *row_failed_before(const RowValues *row, Failure *failure);

#endif
