/*
 * link_admin.c
 *		Creating, pausing, resetting and dropping links; where they are.
 *
 * Lock protocol: row locks of the tables link and link_lane.  A batch that is being
 * accepted while its link is paused or reset comes before that or is refused.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "base/errors.h"
#include "log/restore.h"
#include "message_bus/endpoint/endpoint.h"
#include "message_bus/know/shared.h"
#include "message_bus/link/link.h"
#include "message_bus/link/own_endpoint.h"
#include "pg/argument.h"
#include "pg/spi.h"

static void check_alone(const Datum *values);
static void tell(void);
static void set_paused(FunctionCallInfo fcinfo, bool paused);
static int32 lane_argument(FunctionCallInfo fcinfo);

PG_FUNCTION_INFO_V1(message_bus_create_link);
/*
 * message_bus.create_link(name, source, endpoint, target)
 */
Datum
message_bus_create_link(PG_FUNCTION_ARGS)
{
	static SpiStatement insert = {
		"INSERT INTO message_bus.link (name, source, endpoint, target, endpoint_id)"
		" VALUES ($1, $2, $3, $4, $5)"};
	static const char *const names[] = {"name", "source", "endpoint", "target"};
	Datum		values[5] = {0};
	char		nulls[] = "     ";

	PreventCommandIfReadOnly("message_bus.create_link()");
	restore_refuse_writing();
	for (int i = 0; i < 4; i++)
	{
		if (i < 3)
			argument_not_null(&fcinfo->args[i], names[i],
							  "Type SELECT message_bus.create_link('orders', 'shop', 'to-orders').");
		nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
		if (PG_ARGISNULL(i))
			continue;
		values[i] = PG_GETARG_DATUM(i);
		if (i < 2)
			own_endpoint_check_name(text_to_cstring(PG_GETARG_TEXT_PP(i)), names[i]);
	}
	if (!PG_ARGISNULL(3))
		(void) endpoint_use_named(text_to_cstring(PG_GETARG_TEXT_PP(3)));
	spi_begin(SPI_AS_OWNER);
	check_alone(values);
	values[4] = Int32GetDatum(own_endpoint_create(LINK_ENDPOINT_PREFIX,
													text_to_cstring(PG_GETARG_TEXT_PP(0))));
	(void) spi_run(&insert, 5, (Oid[]) {TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT4OID}, values,
				   nulls);
	tell();
	spi_end();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(message_bus_drop_link);
/*
 * message_bus.drop_link(link, force)
 */
Datum
message_bus_drop_link(PG_FUNCTION_ARGS)
{
	static SpiStatement removals[] = {
		{"DELETE FROM message_bus.link_lane p WHERE p.link_id = $1"},
		{"DELETE FROM message_bus.link l WHERE l.link_id = $1"},
	};
	Link	   *link;
	Datum		id;

	PreventCommandIfReadOnly("message_bus.drop_link()");
	link = link_argument(fcinfo);
	id = Int32GetDatum(link->id);
	spi_begin(SPI_AS_OWNER);
	own_endpoint_drop(link->endpoint_id, !PG_ARGISNULL(1) && PG_GETARG_BOOL(1));
	for (int i = 0; i < lengthof(removals); i++)
		(void) spi_run_latest(&removals[i], 1, (Oid[]) {INT4OID}, &id, NULL);
	tell();
	spi_end();
	PG_RETURN_VOID();
}

/*
 * Refuses a link whose name, or whose endpoint of that source, another one has: what one of
 * two has told the source to have arrived is gone for the other.
 */
static void
check_alone(const Datum *values)
{
	static SpiStatement find = {
		"SELECT l.name, l.name = $1 FROM message_bus.link l"
		" WHERE l.name = $1 OR (l.source = $2 AND l.endpoint = $3)"
		" ORDER BY l.name <> $1, l.name LIMIT 1"};
	char	   *other;

	if (spi_run_latest(&find, 3, (Oid[]) {TEXTOID, TEXTOID, TEXTOID}, values, NULL) == 0)
		return;
	other = spi_text(0, 0, CurrentMemoryContext);
	ereport(ERROR,
			(errcode(ERRCODE_DUPLICATE_OBJECT),
			 spi_bool(0, 1) ? errmsg("link \"%s\" already exists", other)
			 : errmsg("the endpoint has a link already: \"%s\"", other),
			 errhint("Drop it with message_bus.drop_link(), or choose another name or endpoint.")));
}

/*
 * Tells the programs that carry.
 */
static void
tell(void)
{
	static SpiStatement notify = {"SELECT pg_catalog.pg_notify('message_bus.links', '')"};

	(void) spi_run(&notify, 0, NULL, NULL, NULL);
}

/*
 * Sets it, and tells the programs that carry.
 */
static void
set_paused(FunctionCallInfo fcinfo, bool paused)
{
	static SpiStatement update = {
		"UPDATE message_bus.link l SET paused = $2 WHERE l.link_id = $1"};
	Datum		values[] = {Int32GetDatum(link_argument(fcinfo)->id), BoolGetDatum(paused)};

	PreventCommandIfReadOnly(paused ? "message_bus.pause_link()" : "message_bus.resume_link()");
	restore_refuse_writing();
	spi_begin(SPI_AS_OWNER);
	(void) spi_run_latest(&update, 2, (Oid[]) {INT4OID, BOOLOID}, values, NULL);
	tell();
	spi_end();
}

PG_FUNCTION_INFO_V1(message_bus_pause_link);
/*
 * message_bus.pause_link(link)
 */
Datum
message_bus_pause_link(PG_FUNCTION_ARGS)
{
	set_paused(fcinfo, true);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(message_bus_resume_link);
/*
 * message_bus.resume_link(link)
 */
Datum
message_bus_resume_link(PG_FUNCTION_ARGS)
{
	set_paused(fcinfo, false);
	PG_RETURN_VOID();
}

static int32
lane_argument(FunctionCallInfo fcinfo)
{
	int32		lane;

	argument_not_null(&fcinfo->args[1], "lane", "Lanes count from 0.");
	lane = PG_GETARG_INT32(1);
	if (lane < 0 || lane >= MAX_LANES)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("lane must be between 0 and %d", MAX_LANES - 1),
				 errhint("Lanes are those of the endpoint at the source.")));
	return lane;
}

PG_FUNCTION_INFO_V1(message_bus_link_position);
/*
 * message_bus.link_position(link, lane)
 */
Datum
message_bus_link_position(PG_FUNCTION_ARGS)
{
	Link	   *link = link_argument(fcinfo);
	LinkLane	state;

	link_lane_read(link, lane_argument(fcinfo), &state);
	PG_RETURN_INT64(state.position);
}

PG_FUNCTION_INFO_V1(message_bus_hear_link);
/*
 * message_bus.hear_link(link)
 */
Datum
message_bus_hear_link(PG_FUNCTION_ARGS)
{
	static SpiStatement update = {
		"UPDATE message_bus.link l SET heard_at = pg_catalog.clock_timestamp()"
		" WHERE l.link_id = $1"};
	Datum		id;

	PreventCommandIfReadOnly("message_bus.hear_link()");
	restore_refuse_writing();
	id = Int32GetDatum(link_argument(fcinfo)->id);
	spi_begin(SPI_AS_OWNER);
	(void) spi_run_latest(&update, 1, (Oid[]) {INT4OID}, &id, NULL);
	spi_end();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(message_bus_lose_link);
/*
 * message_bus.lose_link(link, lane, at_position, error_code, error)
 */
Datum
message_bus_lose_link(PG_FUNCTION_ARGS)
{
	static SpiStatement mark = {
		"INSERT INTO message_bus.link_lane AS p (link_id, lane, error_code, error, lost_at)"
		" SELECT $1, $2, $4, $5, pg_catalog.clock_timestamp() WHERE $3 = 0 OR EXISTS"
		" (SELECT FROM message_bus.link_lane o WHERE o.link_id = $1 AND o.lane = $2)"
		" ON CONFLICT (link_id, lane) DO UPDATE SET error_code = excluded.error_code,"
		" error = excluded.error, lost_at = excluded.lost_at"
		" WHERE p.position = $3 AND p.error_code IS NULL"};
	Oid			types[] = {INT4OID, INT4OID, INT8OID, TEXTOID, TEXTOID};
	Datum		values[5];
	bool		marked;

	PreventCommandIfReadOnly("message_bus.lose_link()");
	restore_refuse_writing();
	values[0] = Int32GetDatum(link_argument(fcinfo)->id);
	values[1] = Int32GetDatum(lane_argument(fcinfo));
	argument_not_null(&fcinfo->args[2], "at_position", "Pass where the lane is.");
	argument_not_null(&fcinfo->args[3], "error_code", "Pass MB008 or MB009.");
	argument_not_null(&fcinfo->args[4], "error", "Say what is wrong.");
	for (int i = 2; i < 5; i++)
		values[i] = PG_GETARG_DATUM(i);
	spi_begin(SPI_AS_OWNER);
	marked = spi_run_latest(&mark, 5, types, values, NULL) > 0;
	spi_end();
	PG_RETURN_BOOL(marked);
}

PG_FUNCTION_INFO_V1(message_bus_reset_link);
/*
 * message_bus.reset_link(link, lane, to_position)
 */
Datum
message_bus_reset_link(PG_FUNCTION_ARGS)
{
	static SpiStatement reset = {
		"INSERT INTO message_bus.link_lane AS p (link_id, lane, position) VALUES ($1, $2, $3)"
		" ON CONFLICT (link_id, lane) DO UPDATE SET position = $3, incarnation = NULL,"
		" error_code = NULL, error = NULL, lost_at = NULL"};
	Datum		values[3];

	PreventCommandIfReadOnly("message_bus.reset_link()");
	restore_refuse_writing();
	values[0] = Int32GetDatum(link_argument(fcinfo)->id);
	values[1] = Int32GetDatum(lane_argument(fcinfo));
	argument_not_null(&fcinfo->args[2], "to_position",
					  "message_bus.forward_lanes() at the source tells where its lanes are.");
	values[2] = PG_GETARG_DATUM(2);
	if (PG_GETARG_INT64(2) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("to_position must not be negative"),
				 errhint("0 is the beginning.")));
	spi_begin(SPI_AS_OWNER);
	(void) spi_run_latest(&reset, 3, (Oid[]) {INT4OID, INT4OID, INT8OID}, values, NULL);
	tell();
	spi_end();
	PG_RETURN_VOID();
}
