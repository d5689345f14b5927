/*
 * cell.c
 *		Ids that tell which cell made them.
 *
 * A cell is one of several databases that share the same work (setting ecommerce.cell).
 * An id is a UUIDv7 (RFC 9562): 48 bits of milliseconds, the version, the number of the
 * cell in the 12 bits after it (rand_a), 62 random bits.  So a router needs no table to
 * find the database of an id.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/uuid.h"

#include "pg/context.h"
#include "pg/settings.h"

/* Where the version stands, and after it the cell. */
#define VERSION_BYTE 6

PG_FUNCTION_INFO_V1(ecommerce_new_id);
/*
 * ecommerce.new_id()
 */
Datum
ecommerce_new_id(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));

	uuid_generate_v7(id);
	id->data[VERSION_BYTE] = (unsigned char) (0x70 | setting_ecommerce_cell >> 8);
	id->data[VERSION_BYTE + 1] = (unsigned char) setting_ecommerce_cell;
	PG_RETURN_UUID_P(id);
}

PG_FUNCTION_INFO_V1(ecommerce_cell_of);
/*
 * ecommerce.cell_of(id): NULL of an id that is no UUIDv7
 */
Datum
ecommerce_cell_of(PG_FUNCTION_ARGS)
{
	const pg_uuid_t *id = PG_GETARG_UUID_P(0);

	if (id->data[VERSION_BYTE] >> 4 != 7)
		PG_RETURN_NULL();
	PG_RETURN_INT32((id->data[VERSION_BYTE] & 0x0f) << 8 | id->data[VERSION_BYTE + 1]);
}
