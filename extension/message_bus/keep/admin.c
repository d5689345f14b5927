/*
 * admin.c
 *		Creating, changing and dropping endpoints; routes.
 *
 * Lock protocol: dropping takes the endpoint's lock exclusively, so it waits for
 * whoever is sending to it or receiving from it; the rest shares it like them and
 * relies on row locks.
 * Every change makes all backends read endpoints and routes anew after its
 * commit.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "base/errors.h"
#include "message_bus/endpoint/breaker_note.h"
#include "message_bus/endpoint/endpoint.h"
#include "message_bus/know/note.h"
#include "message_bus/know/policy.h"
#include "pg/argument.h"
#include "pg/clock.h"
#include "pg/spi.h"

#define MAX_NAME 200
#define MAX_TYPE 255
#define MAX_ENDPOINT_ID 0xFFFFFF

static void check_name(const char *name);
static void check_timeout(const Interval *timeout);
static bool is_strict(const char *order);
static Jsonb *breaker_argument(FunctionCallInfo fcinfo, int number);
static Endpoint *named_endpoint(FunctionCallInfo fcinfo, int number);
static void endpoint_dropped(void *endpoint);
static void refuse_if_in_use(const Endpoint *endpoint);
static void set_paused(FunctionCallInfo fcinfo, bool paused);

static void
check_name(const char *name)
{
	argument_check_name(name, "endpoint name", MAX_NAME,
						"Type SELECT message_bus.endpoint_name('SubmitOrderConsumer') for one.");
}

static void
check_timeout(const Interval *timeout)
{
	(void) clock_microseconds(timeout, "timeout");
	if (timeout->month < 0 || timeout->day < 0 || timeout->time < 0 ||
		(timeout->month == 0 && timeout->day == 0 && timeout->time == 0))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("timeout must be positive"),
				 errhint("Pass something like '30 s'.")));
}

static bool
is_strict(const char *order)
{
	if (strcmp(order, "strict") != 0 && strcmp(order, "relaxed") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown order \"%s\"", order),
				 errhint("Pass 'strict' or 'relaxed', which is the default.")));
	return strcmp(order, "strict") == 0;
}

/*
 * A breaker policy given as jsonb or, by its name or as JSON, as any text.
 */
static Jsonb *
breaker_argument(FunctionCallInfo fcinfo, int number)
{
	Oid			type = get_fn_expr_argtype(fcinfo->flinfo, number);
	Oid			output;
	bool		is_varlena;
	Jsonb	   *json;
	JsonbValue	scalar;

	if (type != JSONBOID)
	{
		getTypeOutputInfo(type, &output, &is_varlena);
		return breaker_policy_from_text(OidOutputFunctionCall(output, PG_GETARG_DATUM(number)));
	}
	json = PG_GETARG_JSONB_P(number);
	if (JB_ROOT_IS_SCALAR(json) && JsonbExtractScalar(&json->root, &scalar) &&
		scalar.type == jbvString)
		return breaker_policy_from_text(pnstrdup(scalar.val.string.val, scalar.val.string.len));
	return json;
}

PG_FUNCTION_INFO_V1(message_bus_create_endpoint);
/*
 * message_bus.create_endpoint(name, lanes, retry, breaker, timeout, order, forward_to)
 */
Datum
message_bus_create_endpoint(PG_FUNCTION_ARGS)
{
	static SpiStatement insert = {
		"INSERT INTO message_bus.endpoint (name, lanes, retry, retry_delays, breaker, timeout,"
		" strict_order, forward_to) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
		" ON CONFLICT (name) DO NOTHING RETURNING endpoint_id"};
	Oid			types[] = {TEXTOID, INT4OID, JSONBOID, INT4ARRAYOID, JSONBOID, INTERVALOID,
	BOOLOID, TEXTOID};
	char	   *name;
	int32		lanes;
	RetryPolicy retry;
	BreakerPolicy breaker;
	Datum		values[8] = {0};
	char		nulls[] = "        ";

	for (int i = 0; i < 6; i++)
	{
		if (PG_ARGISNULL(i))
			PG_RETURN_NULL();
	}
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	lanes = PG_GETARG_INT32(1);
	check_name(name);
	if (lanes < 1 || lanes > MAX_LANES)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("lanes must be between 1 and %d", MAX_LANES),
				 errhint("8 suit most; so many consumers can work at once.")));
	check_timeout(PG_GETARG_INTERVAL_P(4));
	retry_policy_parse(PG_GETARG_JSONB_P(2), &retry);
	retry_policy_draw(&retry);
	values[4] = JsonbPGetDatum(breaker_argument(fcinfo, 3));
	breaker_policy_parse(DatumGetJsonbP(values[4]), &breaker);
	for (int i = 0; i < 3; i++)
		values[i] = PG_GETARG_DATUM(i);
	values[3] = PointerGetDatum(retry_policy_delays(&retry));
	values[5] = PG_GETARG_DATUM(4);
	values[6] = BoolGetDatum(is_strict(text_to_cstring(PG_GETARG_TEXT_PP(5))));
	nulls[7] = PG_ARGISNULL(6) ? 'n' : ' ';
	if (!PG_ARGISNULL(6))
	{
		check_name(text_to_cstring(PG_GETARG_TEXT_PP(6)));
		values[7] = PG_GETARG_DATUM(6);
	}
	spi_begin(SPI_AS_OWNER);
	if (spi_run(&insert, 8, types, values, nulls) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("endpoint \"%s\" already exists", name),
				 errhint("Change it with message_bus.alter_endpoint().")));
	if (spi_int32(0, 0, 0) > MAX_ENDPOINT_ID)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many endpoints have been created"),
				 errhint("Endpoint ids end at %d.", MAX_ENDPOINT_ID)));
	spi_end();
	endpoint_cache_changed();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(message_bus_alter_endpoint);
/*
 * message_bus.alter_endpoint(name, retry, breaker, timeout, max_depth)
 */
Datum
message_bus_alter_endpoint(PG_FUNCTION_ARGS)
{
	static SpiStatement update = {
		"UPDATE message_bus.endpoint e SET retry = coalesce($2, e.retry),"
		" retry_delays = coalesce($3, e.retry_delays), breaker = coalesce($4, e.breaker),"
		" timeout = coalesce($5, e.timeout), max_depth = coalesce($6, e.max_depth)"
		" WHERE e.endpoint_id = $1"};
	Oid			types[] = {INT4OID, JSONBOID, INT4ARRAYOID, JSONBOID, INTERVALOID, INT4OID};
	Datum		values[6] = {0};
	char		nulls[] = " nnnnn";
	RetryPolicy retry;
	BreakerPolicy breaker;
	const Endpoint *endpoint = named_endpoint(fcinfo, 0);

	values[0] = Int32GetDatum(endpoint->id);
	if (!PG_ARGISNULL(1))
	{
		retry_policy_parse(PG_GETARG_JSONB_P(1), &retry);
		retry_policy_draw(&retry);
		values[1] = PG_GETARG_DATUM(1);
		values[2] = PointerGetDatum(retry_policy_delays(&retry));
		nulls[1] = nulls[2] = ' ';
	}
	if (!PG_ARGISNULL(2))
	{
		values[3] = JsonbPGetDatum(breaker_argument(fcinfo, 2));
		breaker_policy_parse(DatumGetJsonbP(values[3]), &breaker);
		breaker_note_policy(endpoint, &breaker);
		nulls[3] = ' ';
	}
	if (!PG_ARGISNULL(3))
	{
		check_timeout(PG_GETARG_INTERVAL_P(3));
		values[4] = PG_GETARG_DATUM(3);
		nulls[4] = ' ';
	}
	if (!PG_ARGISNULL(4))
	{
		if (PG_GETARG_INT32(4) < -1)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("max_depth must not be negative"),
					 errhint("-1 is unlimited.")));
		values[5] = PG_GETARG_DATUM(4);
		nulls[5] = ' ';
	}
	spi_execute_latest(&update, 6, types, values, nulls);
	endpoint_cache_changed();
	PG_RETURN_VOID();
}

static Endpoint *
named_endpoint(FunctionCallInfo fcinfo, int number)
{
	argument_not_null_as(ERRCODE_MB_NO_ENDPOINT, &fcinfo->args[number], "endpoint",
						 "Names are in message_bus.endpoints.");
	return endpoint_use_named(text_to_cstring(PG_GETARG_TEXT_PP(number)));
}

PG_FUNCTION_INFO_V1(message_bus_drop_endpoint);
/*
 * message_bus.drop_endpoint(name, force)
 */
Datum
message_bus_drop_endpoint(PG_FUNCTION_ARGS)
{
	static SpiStatement removals[] = {
		{"DELETE FROM message_bus.aside t WHERE t.endpoint_id = $1"},
		{"DELETE FROM message_bus.dead t WHERE t.endpoint_id = $1"},
		{"DELETE FROM message_bus.lease t WHERE t.endpoint_id = $1"},
		{"DELETE FROM message_bus.passed t WHERE t.endpoint_id = $1"},
		{"DELETE FROM message_bus.death t WHERE t.endpoint_id = $1"},
		{"DELETE FROM message_bus.breaker t WHERE t.endpoint_id = $1"},
		{"DELETE FROM message_bus.lane t WHERE t.endpoint_id = $1"},
		{"DELETE FROM message_bus.endpoint t WHERE t.endpoint_id = $1"},
		/* Last, so that it sees those of who was first. */
		{"DELETE FROM message_bus.route t WHERE t.endpoint_id = $1"},
	};
	const Endpoint *endpoint = endpoint_lock_to_drop(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	Datum		value = Int32GetDatum(endpoint->id);

	if (!PG_GETARG_BOOL(1))
		refuse_if_in_use(endpoint);
	for (int i = 0; i < lengthof(removals); i++)
		spi_execute_latest(&removals[i], 1, (Oid[]) {INT4OID}, &value, NULL);
	note_at_commit(endpoint_dropped, (void *) endpoint);
	endpoint_cache_changed();
	PG_RETURN_VOID();
}

/*
 * The worker looks no more for what was due there, leased or to be told.
 */
static void
endpoint_dropped(void *endpoint)
{
	pg_atomic_write_u32(&((const Endpoint *) endpoint)->shared->loaded, 0);
}

static void
refuse_if_in_use(const Endpoint *endpoint)
{
	static SpiStatement count = {
		"SELECT (SELECT pg_catalog.count(*) FROM message_bus.aside a WHERE a.endpoint_id = $1)"
		" + (SELECT pg_catalog.count(*) FROM message_bus.dead d WHERE d.endpoint_id = $1)"};
	Datum		value;
	int64		messages;

	value = Int32GetDatum(endpoint->id);
	spi_begin(SPI_AS_OWNER);
	(void) spi_run_latest(&count, 1, (Oid[]) {INT4OID}, &value, NULL);
	messages = spi_int64(0, 0, 0) + (int64) pg_atomic_read_u64(&endpoint->shared->depth) +
		(int64) pg_atomic_read_u64(&endpoint->shared->reserved);
	spi_end();
	if (messages > 0)
		ereport(ERROR,
				(errcode(ERRCODE_MB_ENDPOINT_IN_USE),
				 errmsg("endpoint \"%s\" has messages", endpoint->name),
				 errdetail("There are " INT64_FORMAT ", dead letters included.", messages),
				 errhint("Consume them, or type SELECT message_bus.drop_endpoint(%s, force => true).",
						 quote_literal_cstr(endpoint->name))));
}

static void
set_paused(FunctionCallInfo fcinfo, bool paused)
{
	static SpiStatement update = {
		"UPDATE message_bus.endpoint e SET paused = $2 WHERE e.endpoint_id = $1"};
	const Endpoint *endpoint = named_endpoint(fcinfo, 0);
	Datum		values[] = {Int32GetDatum(endpoint->id), BoolGetDatum(paused)};

	spi_execute_latest(&update, 2, (Oid[]) {INT4OID, BOOLOID}, values, NULL);
	endpoint_cache_changed();
	/* Whoever waits must look again. */
	if (!paused)
		note_due(endpoint, 0, GetCurrentTimestamp());
}

PG_FUNCTION_INFO_V1(message_bus_pause);
/*
 * message_bus.pause(endpoint)
 */
Datum
message_bus_pause(PG_FUNCTION_ARGS)
{
	set_paused(fcinfo, true);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(message_bus_resume);
/*
 * message_bus.resume(endpoint)
 */
Datum
message_bus_resume(PG_FUNCTION_ARGS)
{
	set_paused(fcinfo, false);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(message_bus_subscribe);
/*
 * message_bus.subscribe(endpoint, message_type)
 */
Datum
message_bus_subscribe(PG_FUNCTION_ARGS)
{
	static SpiStatement insert = {
		"INSERT INTO message_bus.route (endpoint_id, message_type)"
		/* Not while somebody drops it. */
		" SELECT e.endpoint_id, $2 FROM message_bus.endpoint e WHERE e.endpoint_id = $1 FOR KEY SHARE"
		" ON CONFLICT DO NOTHING"};
	Datum		values[] = {Int32GetDatum(named_endpoint(fcinfo, 0)->id), 0};

	if (PG_ARGISNULL(1) || VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(1)) == 0 ||
		VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(1)) > MAX_TYPE)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("message type must have 1 to %d bytes", MAX_TYPE),
				 errhint("Name what happened or is to be done, like 'OrderSubmitted'.")));
	values[1] = PG_GETARG_DATUM(1);
	spi_execute(&insert, 2, (Oid[]) {INT4OID, TEXTOID}, values, NULL);
	endpoint_cache_changed();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(message_bus_unsubscribe);
/*
 * message_bus.unsubscribe(endpoint, message_type)
 */
Datum
message_bus_unsubscribe(PG_FUNCTION_ARGS)
{
	static SpiStatement delete = {
		"DELETE FROM message_bus.route r WHERE r.endpoint_id = $1 AND r.message_type = $2"};
	Datum		values[] = {Int32GetDatum(named_endpoint(fcinfo, 0)->id), 0};

	if (PG_ARGISNULL(1))
		PG_RETURN_VOID();
	values[1] = PG_GETARG_DATUM(1);
	spi_execute_latest(&delete, 2, (Oid[]) {INT4OID, TEXTOID}, values, NULL);
	endpoint_cache_changed();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(message_bus_reset_breaker);
/*
 * message_bus.reset_breaker(endpoint, message_type)
 */
Datum
message_bus_reset_breaker(PG_FUNCTION_ARGS)
{
	const Endpoint *endpoint = named_endpoint(fcinfo, 0);

	PG_RETURN_BOOL(!PG_ARGISNULL(1) &&
				   breaker_note_reset(endpoint, text_to_cstring(PG_GETARG_TEXT_PP(1))));
}
