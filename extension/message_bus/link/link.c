/*
 * link.c
 *		Links: where they read, where what they bring goes, and how far they are.
 *
 * Two tables, read where they are needed: a link costs nothing in shared memory, and a
 * restore or failover has nothing to forget.  A lane has one row, which moves once per
 * batch.
 *
 * Lock protocol: the row of a lane is updated on condition that it is where the caller
 * thinks; who comes second waits for the first one's commit, and then it is not.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "base/debug_point.h"
#include "base/errors.h"
#include "message_bus/link/link.h"
#include "pg/argument.h"
#include "pg/spi.h"

/*
 * The link that the first argument names; MB010 if there is none.
 */
Link *
link_argument(FunctionCallInfo fcinfo)
{
	static SpiStatement find = {
		"SELECT l.link_id, l.source, l.target, l.endpoint_id, l.paused FROM message_bus.link l"
		" WHERE l.name = $1"};
	enum
	{
		LINK_ID,
		SOURCE,
		TARGET,
		ENDPOINT_ID,
		PAUSED
	};
	MemoryContext caller = CurrentMemoryContext;
	Link	   *link = palloc0(sizeof(Link));
	Datum		value;

	argument_not_null(&fcinfo->args[0], "link", "Names are in message_bus.links.");
	value = PG_GETARG_DATUM(0);
	link->name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	spi_begin(SPI_AS_OWNER);
	if (spi_run_latest(&find, 1, (Oid[]) {TEXTOID}, &value, NULL) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_MB_NO_LINK),
				 errmsg("link \"%s\" does not exist", link->name),
				 errhint("Type SELECT message_bus.create_link(%s, ...).",
						 quote_literal_cstr(link->name))));
	link->id = spi_int32(0, LINK_ID, 0);
	link->source = spi_text(0, SOURCE, caller);
	link->target = spi_text(0, TARGET, caller);
	link->endpoint_id = spi_int32(0, ENDPOINT_ID, 0);
	link->paused = spi_bool(0, PAUSED);
	spi_end();
	return link;
}

/*
 * How far a lane is, in the caller's memory.
 */
void
link_lane_read(const Link *link, int32 lane, LinkLane *state)
{
	static SpiStatement find = {
		"SELECT p.position, p.incarnation, p.error_code, p.error FROM message_bus.link_lane p"
		" WHERE p.link_id = $1 AND p.lane = $2"};
	enum
	{
		POSITION,
		INCARNATION,
		ERROR_CODE,
		ERROR_TEXT
	};
	MemoryContext caller = CurrentMemoryContext;
	Datum		values[] = {Int32GetDatum(link->id), Int32GetDatum(lane)};

	memset(state, 0, sizeof(*state));
	spi_begin(SPI_AS_OWNER);
	state->exists = spi_run_latest(&find, 2, (Oid[]) {INT4OID, INT4OID}, values, NULL) > 0;
	if (state->exists)
	{
		state->position = spi_int64(0, POSITION, 0);
		state->incarnation = spi_text(0, INCARNATION, caller);
		state->error_code = spi_text(0, ERROR_CODE, caller);
		state->error = spi_text(0, ERROR_TEXT, caller);
	}
	spi_end();
}

/*
 * Moves a lane, if it is still where it was; waits for whoever is moving it.  False if
 * it is not.
 */
bool
link_lane_move(const Link *link, int32 lane, const LinkLane *from, int64 upto, int count,
			   const char *incarnation)
{
	static SpiStatement move = {
		"UPDATE message_bus.link_lane p SET position = $4, incarnation = coalesce($5, p.incarnation),"
		" accepted = p.accepted + $6, accepted_at = pg_catalog.clock_timestamp()"
		" WHERE p.link_id = $1 AND p.lane = $2 AND p.position = $3 AND p.error_code IS NULL"
		" AND p.incarnation IS NOT DISTINCT FROM $7"};
	static SpiStatement move_anyhow = {
		"UPDATE message_bus.link_lane p SET position = $4, incarnation = coalesce($5, p.incarnation),"
		" accepted = p.accepted + $6, accepted_at = pg_catalog.clock_timestamp()"
		" WHERE p.link_id = $1 AND p.lane = $2 AND ($3 IS NULL OR $3 IS NOT NULL)"
		" AND ($7 IS NULL OR $7 IS NOT NULL)"};
	Oid			types[] = {INT4OID, INT4OID, INT8OID, INT8OID, TEXTOID, INT8OID, TEXTOID};
	Datum		values[7] = {Int32GetDatum(link->id), Int32GetDatum(lane),
	Int64GetDatum(from->position), Int64GetDatum(upto), 0, Int64GetDatum(count), 0};
	char		nulls[] = "    n n";
	bool		moved;

	if (DEBUG_BREAK("link_no_position"))
		return true;
	if (incarnation != NULL)
	{
		values[4] = CStringGetTextDatum(incarnation);
		nulls[4] = ' ';
	}
	if (from->incarnation != NULL)
	{
		values[6] = CStringGetTextDatum(from->incarnation);
		nulls[6] = ' ';
	}
	spi_begin(SPI_AS_OWNER);
	moved = spi_run_latest(DEBUG_BREAK("link_no_compare") ? &move_anyhow : &move, 7, types, values,
						   nulls) > 0;
	spi_end();
	return moved;
}

/*
 * Makes the row of a lane that has none, at position 0.
 */
void
link_lane_begin(const Link *link, int32 lane)
{
	static SpiStatement begin = {
		"INSERT INTO message_bus.link_lane (link_id, lane) VALUES ($1, $2) ON CONFLICT DO NOTHING"};
	Datum		values[] = {Int32GetDatum(link->id), Int32GetDatum(lane)};

	spi_begin(SPI_AS_OWNER);
	(void) spi_run_latest(&begin, 2, (Oid[]) {INT4OID, INT4OID}, values, NULL);
	spi_end();
}

/*
 * Counts messages that have become dead letters; the caller has moved the lane.
 */
void
link_lane_count_refused(const Link *link, int32 lane, int refused)
{
	static SpiStatement count = {
		"UPDATE message_bus.link_lane p SET accepted = p.accepted - $3, refused = p.refused + $3"
		" WHERE p.link_id = $1 AND p.lane = $2"};
	Datum		values[] = {Int32GetDatum(link->id), Int32GetDatum(lane), Int64GetDatum(refused)};

	spi_begin(SPI_AS_OWNER);
	(void) spi_run_latest(&count, 3, (Oid[]) {INT4OID, INT4OID, INT8OID}, values, NULL);
	spi_end();
}
