/*
 * subscription_define.c
 *		Creating, changing, dropping and resetting subscriptions.
 *
 * Lock protocol: rows of partitions as in subscription_lease.c; so whoever moves
 * or drops one waits for the consumer that holds it.  Before them the row of the
 * subscription, which consumers do not lock: so whoever changes one finds all its
 * partitions, also when another has just made them anew.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "base/errors.h"
#include "event_store/read/partition.h"
#include "event_store/read/subscription_lease.h"
#include "event_store/stream/stream.h"
#include "log/position.h"
#include "pg/argument.h"
#include "pg/spi.h"

/* For renew_partitions(): no checkpoint. */
#define WHERE_THEY_ARE (-1)

static void check_position(const char *parameter, int64 position);
static void check_partitions(int partitions);
static void refuse_none_of_category(const char *name);
static void lock_definition(const char *name);
static void hold_partitions(const char *name);
static void renew_partitions(const char *name, int64 checkpoint);
static void refuse_park_after(const char *bound) pg_attribute_noreturn();

/*
 * Fails unless somebody can have been at a position.  Beyond the counter lie
 * events that would be passed over, and event_store.verify() would take such a
 * checkpoint for the trace of events that were lost.
 */
static void
check_position(const char *parameter, int64 position)
{
	int64		counter = position_counter(LOG_EVENT_STORE);

	if (position >= 0 && position <= counter)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s must be between 0 and the newest position, " INT64_FORMAT, parameter, counter),
			 errhint("0 starts at the first event, event_store.high_water_mark() at the next.")));
}

static void
check_partitions(int partitions)
{
	if (partitions >= 1 && partitions <= SUBSCRIPTION_PARTITIONS_MAX)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("partitions must be between 1 and %d", SUBSCRIPTION_PARTITIONS_MAX),
			 errhint("As many as consumers that shall work in parallel, or a few times more.")));
}

/*
 * Fails if a subscription is to one stream, and to a category in which that is not: no
 * event would ever come.
 */
static void
refuse_none_of_category(const char *name)
{
	Subscription subscription;
	const EventFilter *filter = &subscription.filter;

	subscription_load(name, &subscription);
	if (filter->stream == NULL ||
		(category_length(filter->stream, filter->stream_length) == filter->category_length &&
		 memcmp(filter->stream, filter->category, filter->category_length) == 0))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("stream \"%s\" is not of category \"%s\"", filter->stream, filter->category),
			 errhint("Name the stream or the category.")));
}

/*
 * SB001 if there is none of that name.
 */
static void
lock_definition(const char *name)
{
	static SpiStatement lock = {
		"SELECT FROM event_store.subscription WHERE name = $1 FOR UPDATE"
	};
	Datum		key = CStringGetTextDatum(name);

	if (spi_execute_latest(&lock, 1, (Oid[]) {TEXTOID}, &key, NULL) == 0)
		subscription_unknown(name);
}

/*
 * Waits for whoever has a partition on lease: what he has was fetched of the old one.
 */
static void
hold_partitions(const char *name)
{
	static SpiStatement hold = {
		"SELECT FROM event_store.subscription_partition WHERE name = $1 ORDER BY partition FOR UPDATE"
	};
	Datum		key = CStringGetTextDatum(name);

	(void) spi_execute_latest(&hold, 1, (Oid[]) {TEXTOID}, &key, NULL);
}

/*
 * Makes the rows of partitions that are held anew, at a checkpoint, or where they are: who
 * has read the definition as it was leases none of them.
 */
static void
renew_partitions(const char *name, int64 checkpoint)
{
	static SpiStatement renew = {
		"WITH p AS (DELETE FROM event_store.subscription_partition WHERE name = $1 RETURNING *)"
		" INSERT INTO event_store.subscription_partition (name, partition, checkpoint)"
		" SELECT p.name, p.partition, coalesce($2, p.checkpoint) FROM p"
	};

	(void) spi_execute_latest(&renew, 2, (Oid[]) {TEXTOID, INT8OID},
							  (Datum[]) {CStringGetTextDatum(name), Int64GetDatum(checkpoint)},
							  checkpoint == WHERE_THEY_ARE ? " n" : NULL);
}

static void
refuse_park_after(const char *bound)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("park_after must be %s", bound),
			 errhint("Pass how often an event may fail before it is put aside.")));
}

PG_FUNCTION_INFO_V1(event_store_create_subscription);
/*
 * event_store.create_subscription(name, category, event_types, start_after, partitions,
 *		stream, park_after, partition_by)
 */
Datum
event_store_create_subscription(PG_FUNCTION_ARGS)
{
	static SpiStatement create = {
		"INSERT INTO event_store.subscription (name, category, event_types, partitions, stream,"
		" park_after, partition_by) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (name) DO NOTHING"
	};
	static SpiStatement same = {
		"SELECT FROM event_store.subscription WHERE name = $1 AND category IS NOT DISTINCT FROM $2"
		" AND event_types IS NOT DISTINCT FROM $3 AND partitions = $4 AND stream IS NOT DISTINCT FROM $5"
		" AND ($6 IS NULL OR park_after IS NOT DISTINCT FROM $6)"
		" AND partition_by IS NOT DISTINCT FROM $7"
	};
	static const Oid argument_types[] = {TEXTOID, TEXTOID, TEXTARRAYOID, INT4OID, TEXTOID, INT4OID,
		TEXTOID};
	static SpiStatement divide = {
		"INSERT INTO event_store.subscription_partition (name, partition, checkpoint)"
		" SELECT $1, n, $3 FROM generate_series(0, $2 - 1) n"
	};
	char	   *name = subscription_argument(fcinfo);
	int64		start_after = PG_ARGISNULL(3) ? 0 : PG_GETARG_INT64(3);
	int			partitions = PG_ARGISNULL(4) ? 1 : PG_GETARG_INT32(4);
	Datum		values[] = {
		fcinfo->args[0].value, fcinfo->args[1].value, fcinfo->args[2].value,
		Int32GetDatum(partitions), fcinfo->args[5].value, fcinfo->args[6].value,
		fcinfo->args[7].value
	};
	static const int argument[] = {0, 1, 2, 4, 5, 6, 7};
	char		nulls[] = "       ";
	EventFilter types;
	StreamName	stream;

	if (name[0] == '\0' || strlen(name) > 255)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("name of a subscription must have 1 to 255 bytes"),
				 errhint("Name it after the consumer, for example 'order list'.")));
	check_partitions(partitions);
	check_position("start_after", start_after);
	for (int i = 1; i < lengthof(values); i++)
		nulls[i] = i != 3 && fcinfo->args[argument[i]].isnull ? 'n' : ' ';
	if (!PG_ARGISNULL(6) && PG_GETARG_INT32(6) < 1)
		refuse_park_after("at least 1");
	if (!PG_ARGISNULL(7))
		partition_by_check(text_to_cstring(PG_GETARG_TEXT_PP(7)));
	if (!PG_ARGISNULL(1))
		category_check(VARDATA_ANY(PG_GETARG_TEXT_PP(1)), VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(1)));
	if (!PG_ARGISNULL(5))
		stream_name(&stream, VARDATA_ANY(PG_GETARG_TEXT_PP(5)),
					VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(5)));
	event_filter_types(&types, PG_ARGISNULL(2) ? NULL : PG_GETARG_ARRAYTYPE_P(2));
	event_filter_refuse_none(&types);
	spi_begin(SPI_AS_OWNER);
	if (spi_run(&create, 7, argument_types, values, nulls) == 0)
	{
		/* Where it starts is over once it has been created. */
		if (spi_run_latest(&same, 7, argument_types, values, nulls) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_OBJECT),
					 errmsg("subscription \"%s\" exists already, with another definition", name),
					 errhint("Use it as it is, or event_store.drop_subscription first.")));
		spi_end();
		PG_RETURN_VOID();
	}
	(void) spi_run(&divide, 3, (Oid[]){TEXTOID, INT4OID, INT8OID},
				   (Datum[]){values[0], Int32GetDatum(partitions), Int64GetDatum(start_after)},
				   NULL);
	spi_end();
	refuse_none_of_category(name);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(event_store_drop_subscription);
/*
 * event_store.drop_subscription(name)
 */
Datum
event_store_drop_subscription(PG_FUNCTION_ARGS)
{
	static SpiStatement drop_partitions = {
		"DELETE FROM event_store.subscription_partition WHERE name = $1"
	};
	static SpiStatement drop_parked = {
		"DELETE FROM event_store.parked_event WHERE subscription = $1"
	};
	static SpiStatement drop = {"DELETE FROM event_store.subscription WHERE name = $1"};
	char	   *name = subscription_argument(fcinfo);
	Datum		value = CStringGetTextDatum(name);

	lock_definition(name);
	(void) spi_execute_latest(&drop_partitions, 1, (Oid[]) {TEXTOID}, &value, NULL);
	(void) spi_execute_latest(&drop_parked, 1, (Oid[]) {TEXTOID}, &value, NULL);
	(void) spi_execute_latest(&drop, 1, (Oid[]) {TEXTOID}, &value, NULL);
	/* Another one that gets its name begins anew. */
	lease_begin_anew(name);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(event_store_reset_subscription);
/*
 * event_store.reset_subscription(name, to_position)
 */
Datum
event_store_reset_subscription(PG_FUNCTION_ARGS)
{
	static SpiStatement forget = {
		"UPDATE event_store.subscription SET passed = NULL WHERE name = $1 AND passed IS NOT NULL"
	};
	/* They come again by themselves. */
	static SpiStatement unpark = {
		"DELETE FROM event_store.parked_event WHERE subscription = $1 AND position > $2"
	};
	char	   *name = subscription_argument(fcinfo);
	int64		position;
	Datum		values[2];

	argument_not_null(&fcinfo->args[1], "to_position", "0 reads everything again.");
	position = PG_GETARG_INT64(1);
	check_position("to_position", position);
	values[0] = CStringGetTextDatum(name);
	values[1] = Int64GetDatum(position);
	lock_definition(name);
	hold_partitions(name);
	renew_partitions(name, position);
	(void) spi_execute_latest(&forget, 1, (Oid[]) {TEXTOID}, values, NULL);
	(void) spi_execute_latest(&unpark, 2, (Oid[]) {TEXTOID, INT8OID}, values, NULL);
	lease_begin_anew(name);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(event_store_alter_subscription);
/*
 * event_store.alter_subscription(name, category, event_types, park_after, partitions)
 */
Datum
event_store_alter_subscription(PG_FUNCTION_ARGS)
{
	static SpiStatement alter = {
		"UPDATE event_store.subscription SET category = nullif(coalesce($2, category), ''),"
		" event_types = nullif(coalesce($3, event_types), '{}'),"
		" park_after = nullif(coalesce($4, park_after), 0) WHERE name = $1"
	};
	char	   *name = subscription_argument(fcinfo);
	Datum		values[4] = {
		CStringGetTextDatum(name), PG_GETARG_DATUM(1), PG_GETARG_DATUM(2), PG_GETARG_DATUM(3)
	};
	char		nulls[] = "    ";
	bool		others = !PG_ARGISNULL(1) || !PG_ARGISNULL(2);
	EventFilter types;

	for (int i = 1; i < 4; i++)
		nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
	PreventCommandDuringRecovery("event_store.alter_subscription");
	if (!PG_ARGISNULL(1) && VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(1)) > 0)
		category_check(VARDATA_ANY(PG_GETARG_TEXT_PP(1)), VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(1)));
	if (!PG_ARGISNULL(3) && PG_GETARG_INT32(3) < 0)
		refuse_park_after("0, which parks none, or more");
	if (!PG_ARGISNULL(4))
		check_partitions(PG_GETARG_INT32(4));
	event_filter_types(&types, PG_ARGISNULL(2) ? NULL : PG_GETARG_ARRAYTYPE_P(2));
	lock_definition(name);
	hold_partitions(name);
	(void) spi_execute_latest(&alter, 4, (Oid[]) {TEXTOID, TEXTOID, TEXTARRAYOID, INT4OID}, values,
							  nulls);
	refuse_none_of_category(name);
	if (others)
		renew_partitions(name, WHERE_THEY_ARE);
	if (!PG_ARGISNULL(4))
		subscription_divide(name, PG_GETARG_INT32(4));
	if (others || !PG_ARGISNULL(4))
		lease_begin_anew(name);
	PG_RETURN_VOID();
}
