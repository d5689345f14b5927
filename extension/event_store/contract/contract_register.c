/*
 * contract_register.c
 *		Registering event types and upcasters.
 *
 * Registering the same thing again changes nothing.  A version once registered
 * keeps its type: events that fitted must go on fitting.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"

#include "base/errors.h"
#include "event_store/contract/contract.h"
#include "event_store/contract/contract_tree.h"
#include "pg/argument.h"
#include "pg/function.h"
#include "pg/rights.h"
#include "pg/spi.h"

static char *type_registration(Datum name, int32 version);
static int32 checked_version(FunctionCallInfo fcinfo, int argument, const char *what);

/*
 * The name of an event type; ST004 unless it has one to EVENT_TYPE_MAX bytes.
 */
text *
event_type_argument(FunctionCallInfo fcinfo, int argument)
{
	text	   *name = PG_ARGISNULL(argument) ? cstring_to_text("") : PG_GETARG_TEXT_PP(argument);
	int			length = VARSIZE_ANY_EXHDR(name);

	if (length == 0 || length > EVENT_TYPE_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_ST_INVALID_EVENT),
				 errmsg("event_type has %d bytes, it must have 1 to %d", length, EVENT_TYPE_MAX),
				 errhint("Name event types in PascalCase, for example OrderCreated.")));
	return name;
}

PG_FUNCTION_INFO_V1(event_store_register_event_type);
/*
 * event_store.register_event_type(event_type, payload_type, schema_version, current)
 */
Datum
event_store_register_event_type(PG_FUNCTION_ARGS)
{
	static SpiStatement insert = {
		"INSERT INTO event_store.event_type"
		" (event_type, schema_version, payload_type, owner, may_be_current)"
		" VALUES ($1, $2, $3::pg_catalog.oid, $4, $5) ON CONFLICT DO NOTHING"
	};
	static SpiStatement find = {
		"SELECT payload_type::pg_catalog.oid FROM event_store.event_type"
		" WHERE event_type = $1 AND schema_version = $2"
	};
	static const Oid types[] = {TEXTOID, INT4OID, OIDOID, TEXTOID, BOOLOID};
	Datum		values[5] = {
		PointerGetDatum(event_type_argument(fcinfo, 0)),
		Int32GetDatum(checked_version(fcinfo, 2, "schema_version")),
		PG_ARGISNULL(1) ? (Datum) 0 : PG_GETARG_DATUM(1),
		(Datum) 0,
		PG_GETARG_DATUM(3)
	};
	Oid			payload = DatumGetObjectId(values[2]);
	Oid			owner;
	bool		isnull;
	bool		is_new;

	argument_not_null(&fcinfo->args[3], "current",
					  "Pass false to register a version before it is meant by default.");
	if (!OidIsValid(payload) || get_typtype(payload) != TYPTYPE_COMPOSITE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("payload type must be a composite type"),
				 errhint("Type CREATE TYPE ... AS (...) first; a column is required when its type is a NOT NULL domain.")));
	owner = rights_answerable(contract_type_owner(payload), format_type_be_qualified(payload));
	values[3] = rights_role_name(owner);
	spi_begin(SPI_AS_OWNER);
	is_new = spi_run(&insert, 5, types, values, NULL) == 1;
	if (!is_new)
	{
		if (spi_run_latest(&find, 2, types, values, NULL) != 1)
			elog(ERROR, "event type was registered and unregistered at the same time");
		if (DatumGetObjectId(spi_value(0, 0, &isnull)) != payload)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_OBJECT),
					 errmsg("version %d of type \"%s\" is registered with type %s",
							DatumGetInt32(values[1]), TextDatumGetCString(values[0]),
							format_type_be_qualified(DatumGetObjectId(spi_value(0, 0, &isnull)))),
					 errhint("Register the next schema_version, or call event_store.unregister_event_type() first.")));
	}
	spi_end();
	if (is_new)
		registration_store_type(type_registration(values[0], DatumGetInt32(values[1])), payload,
								owner);
	PG_RETURN_VOID();
}

/*
 * Under which name a version of a type is registered.
 */
static char *
type_registration(Datum name, int32 version)
{
	text	   *type = DatumGetTextPP(name);

	return contract_type_registration(VARDATA_ANY(type), VARSIZE_ANY_EXHDR(type), version);
}

PG_FUNCTION_INFO_V1(event_store_set_current_version);
/*
 * event_store.set_current_version(event_type, schema_version)
 *
 * The current version is the greatest that may be.
 */
Datum
event_store_set_current_version(PG_FUNCTION_ARGS)
{
	static SpiStatement set = {
		"UPDATE event_store.event_type SET may_be_current = schema_version <= $2"
		" WHERE event_type = $1 AND (schema_version = $2"
		" OR schema_version > $2 AND may_be_current) AND EXISTS (SELECT FROM event_store.event_type t"
		" WHERE t.event_type = $1 AND t.schema_version = $2)"
	};
	static const Oid types[] = {TEXTOID, INT4OID};
	Datum		values[2] = {
		PointerGetDatum(event_type_argument(fcinfo, 0)),
		Int32GetDatum(checked_version(fcinfo, 1, "schema_version"))
	};
	uint64		changed;

	changed = spi_execute(&set, 2, types, values, NULL);
	if (changed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_ST_INVALID_EVENT),
				 errmsg("version %d of type \"%s\" is not registered",
						DatumGetInt32(values[1]), TextDatumGetCString(values[0])),
				 errhint("Register it with event_store.register_event_type().")));
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(event_store_unregister_event_type);
/*
 * event_store.unregister_event_type(event_type, schema_version)
 */
Datum
event_store_unregister_event_type(PG_FUNCTION_ARGS)
{
	static SpiStatement remove = {
		"DELETE FROM event_store.event_type"
		" WHERE event_type = $1 AND ($2 IS NULL OR schema_version = $2) RETURNING schema_version"
	};
	static const Oid types[] = {TEXTOID, INT4OID};
	Datum		values[2] = {PointerGetDatum(event_type_argument(fcinfo, 0)), PG_GETARG_DATUM(1)};
	uint64		removed;

	spi_begin(SPI_AS_OWNER);
	removed = spi_run(&remove, 2, types, values, PG_ARGISNULL(1) ? " n" : NULL);
	for (uint64 i = 0; i < removed; i++)
		registration_remove(type_registration(values[0], spi_int32(i, 0, 0)));
	spi_end();
	PG_RETURN_INT32((int32) removed);
}

PG_FUNCTION_INFO_V1(event_store_register_upcaster);
/*
 * event_store.register_upcaster(event_type, from_version, fn)
 */
Datum
event_store_register_upcaster(PG_FUNCTION_ARGS)
{
	static SpiStatement insert = {
		"INSERT INTO event_store.upcaster (event_type, from_version, function, owner)"
		" VALUES ($1, $2, $3, $4) ON CONFLICT (event_type, from_version)"
		" DO UPDATE SET function = excluded.function, owner = excluded.owner"
	};
	static const Oid types[] = {TEXTOID, INT4OID, TEXTOID, TEXTOID};
	static const Oid arguments[] = {JSONBOID};
	Datum		values[4] = {
		PointerGetDatum(event_type_argument(fcinfo, 0)),
		Int32GetDatum(checked_version(fcinfo, 1, "from_version"))
	};
	Oid			owner;

	argument_not_null(&fcinfo->args[2], "fn",
					  "Name a function: upcast(data jsonb) RETURNS jsonb.");
	owner = function_expect(PG_GETARG_OID(2), 1, arguments, JSONBOID);
	values[3] = rights_role_name(owner);
	values[2] = CStringGetTextDatum(function_signature(PG_GETARG_OID(2)));
	spi_execute(&insert, 4, types, values, NULL);
	registration_store(contract_upcaster_registration(VARDATA_ANY(DatumGetTextPP(values[0])),
													  VARSIZE_ANY_EXHDR(DatumGetTextPP(values[0])),
													  DatumGetInt32(values[1])),
					   PG_GETARG_OID(2), owner);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(event_store_check_data);
/*
 * event_store.check_data(event_type, data, schema_version)
 */
Datum
event_store_check_data(PG_FUNCTION_ARGS)
{
	text	   *name = event_type_argument(fcinfo, 0);
	int32		version = CONTRACT_CURRENT;

	if (PG_ARGISNULL(1) || !JB_ROOT_IS_OBJECT(PG_GETARG_JSONB_P(1)))
		ereport(ERROR,
				(errcode(ERRCODE_ST_INVALID_EVENT),
				 errmsg("data is not a JSON object"),
				 errhint("Pass {} when there is nothing to tell.")));
	if (!PG_ARGISNULL(2))
		version = checked_version(fcinfo, 2, "schema_version");
	(void) contract_check(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name), &version,
						  PG_GETARG_JSONB_P(1), -1);
	PG_RETURN_INT32(version);
}

static int32
checked_version(FunctionCallInfo fcinfo, int argument, const char *what)
{
	int32		version = PG_ARGISNULL(argument) ? 0 : PG_GETARG_INT32(argument);

	if (version < 1)
		ereport(ERROR,
				(errcode(ERRCODE_ST_INVALID_EVENT),
				 errmsg("%s is not a whole number of 1 or more", what),
				 errhint("Versions of a type are 1, 2, 3, ...")));
	return version;
}
