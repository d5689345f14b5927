/*
 * own_endpoint.c
 *		The endpoint of a link or bridge itself, for dead letters that no other gets.
 *
 * To be called between spi_begin(SPI_AS_OWNER) and spi_end(), but for the check of names.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "base/errors.h"
#include "message_bus/endpoint/endpoint.h"
#include "message_bus/link/own_endpoint.h"
#include "pg/argument.h"
#include "pg/spi.h"

#define MAX_NAME 100

/*
 * Refuses what is no name of a link or bridge, or of what it leads to.
 */
void
own_endpoint_check_name(const char *name, const char *what)
{
	argument_check_name(name, what, MAX_NAME, "Choose a name like 'orders'.");
	/* A connection string would end up in views, logs and dumps. */
	if (strchr(name, '=') != NULL || strstr(name, "://") != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be a name, not a connection string", what),
				 errhint("Name a service of pg_service.conf; addresses and secrets stay there.")));
}

/*
 * Creates the endpoint; returns its number.
 */
int32
own_endpoint_create(const char *prefix, const char *owner)
{
	static SpiStatement create = {
		"SELECT message_bus.create_endpoint($1, 1, '{\"kind\": \"none\"}')"};
	static SpiStatement find = {
		"SELECT e.endpoint_id FROM message_bus.endpoint e WHERE e.name = $1"};
	Datum		name = CStringGetTextDatum(psprintf("%s%s", prefix, owner));

	(void) spi_run(&create, 1, (Oid[]) {TEXTOID}, &name, NULL);
	(void) spi_run_latest(&find, 1, (Oid[]) {TEXTOID}, &name, NULL);
	return spi_int32(0, 0, 0);
}

/*
 * Drops it, unless somebody has; MB004 if it has dead letters, unless forced.
 */
void
own_endpoint_drop(int32 endpoint_id, bool force)
{
	static SpiStatement drop = {"SELECT message_bus.drop_endpoint($1, $2)"};
	Endpoint   *endpoint = endpoint_by_id(endpoint_id);
	Datum		values[2];

	if (endpoint == NULL)
		return;
	values[0] = CStringGetTextDatum(endpoint->name);
	values[1] = BoolGetDatum(force);
	(void) spi_run(&drop, 2, (Oid[]) {TEXTOID, BOOLOID}, values, NULL);
}
