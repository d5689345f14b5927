/*
 * bridge.c
 *		Bridges to brokers, as they stand in their table.
 *
 * Lock protocol: who accepts locks the bridge's row until his transaction ends, so that
 * what two programs bring at once is taken one after the other, each seeing the ids that
 * the other has noted.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "base/errors.h"
#include "message_bus/bridge/bridge.h"
#include "pg/argument.h"
#include "pg/spi.h"

/* What is read of a bridge, and where it stands in the result. */
#define BRIDGE_COLUMNS \
	"b.bridge_id, b.format, b.options, b.options ->> 'broker', b.options ->> 'target'," \
	" b.endpoint_id, b.paused, b.options ->> 'without_id'"
enum
{
	BRIDGE_ID,
	FORMAT,
	OPTIONS,
	BROKER,
	TARGET,
	ENDPOINT_ID,
	PAUSED,
	WITHOUT_ID
};

/*
 * The bridge that the first argument names, its row locked on request; MB011 if there
 * is none.
 */
Bridge *
bridge_argument(FunctionCallInfo fcinfo, bool lock)
{
	static SpiStatement find = {
		"SELECT " BRIDGE_COLUMNS " FROM message_bus.bridge b WHERE b.name = $1"};
	static SpiStatement find_locked = {
		"SELECT " BRIDGE_COLUMNS " FROM message_bus.bridge b WHERE b.name = $1"
		" FOR NO KEY UPDATE"};
	MemoryContext caller = CurrentMemoryContext;
	Bridge	   *bridge = palloc0(sizeof(Bridge));
	Datum		name;
	Datum		options;
	char	   *without_id;
	bool		isnull;

	argument_not_null(&fcinfo->args[0], "bridge", "Names are in message_bus.bridges.");
	name = PG_GETARG_DATUM(0);
	bridge->name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	spi_begin(SPI_AS_OWNER);
	if (spi_run_latest(lock ? &find_locked : &find, 1, (Oid[]) {TEXTOID}, &name, NULL) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_MB_NO_BRIDGE),
				 errmsg("bridge \"%s\" does not exist", bridge->name),
				 errhint("Type SELECT message_bus.create_bridge(%s, ...).",
						 quote_literal_cstr(bridge->name))));
	bridge->id = spi_int32(0, BRIDGE_ID, 0);
	bridge->format = spi_text(0, FORMAT, caller);
	options = spi_copy(0, OPTIONS, caller, &isnull);
	bridge->broker = spi_text(0, BROKER, caller);
	bridge->target = spi_text(0, TARGET, caller);
	bridge->endpoint_id = spi_int32(0, ENDPOINT_ID, 0);
	bridge->paused = spi_bool(0, PAUSED);
	without_id = spi_text(0, WITHOUT_ID, CurrentMemoryContext);
	bridge->recognises = without_id != NULL && strcmp(without_id, "recognise") == 0;
	bridge->refuses = without_id != NULL && strcmp(without_id, "refuse") == 0;
	spi_end();
	/* Unpacked, if it has to be, where the bridge is. */
	bridge->options = DatumGetJsonbP(options);
	return bridge;
}

/*
 * Notes what became of a batch.
 */
void
bridge_count(const Bridge *bridge, const BridgeCount *count)
{
	static SpiStatement update = {
		"UPDATE message_bus.bridge b SET accepted = b.accepted + $2, repeated = b.repeated + $3,"
		" refused = b.refused + $4, accepted_at = pg_catalog.clock_timestamp()"
		" WHERE b.bridge_id = $1"};
	Datum		values[] = {Int32GetDatum(bridge->id), Int32GetDatum(count->accepted),
	Int32GetDatum(count->repeated), Int32GetDatum(count->refused)};

	spi_begin(SPI_AS_OWNER);
	(void) spi_run_latest(&update, 4, (Oid[]) {INT4OID, INT4OID, INT4OID, INT4OID}, values, NULL);
	spi_end();
}
