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
#include "utils/builtins.h"
#include "utils/uuid.h"

#include "pg/context.h"
#include "pg/settings.h"

/* Where the version stands, and after it the cell. */
#define VERSION_BYTE 6

static bool is_ours(const pg_uuid_t *id);
static int32 cell_of(const pg_uuid_t *id);

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

/*
 * Whether it may be an id that new_id() has made: a UUIDv7.
 */
static bool
is_ours(const pg_uuid_t *id)
{
	return id->data[VERSION_BYTE] >> 4 == 7;
}

static int32
cell_of(const pg_uuid_t *id)
{
	return (id->data[VERSION_BYTE] & 0x0f) << 8 | id->data[VERSION_BYTE + 1];
}

PG_FUNCTION_INFO_V1(ecommerce_cell_of);
/*
 * ecommerce.cell_of(id): NULL of an id that is no UUIDv7
 */
Datum
ecommerce_cell_of(PG_FUNCTION_ARGS)
{
	const pg_uuid_t *id = PG_GETARG_UUID_P(0);

	if (!is_ours(id))
		PG_RETURN_NULL();
	PG_RETURN_INT32(cell_of(id));
}

PG_FUNCTION_INFO_V1(ecommerce_cell_of_stream);
/*
 * ecommerce._cell_of_stream(stream): of the id behind the category; NULL if there is none
 */
Datum
ecommerce_cell_of_stream(PG_FUNCTION_ARGS)
{
	const text *stream = PG_GETARG_TEXT_PP(0);
	const char *name = VARDATA_ANY(stream);
	const char *end = name + VARSIZE_ANY_EXHDR(stream);
	const char *dash = memchr(name, '-', end - name);
	pg_uuid_t	id;

	if (dash == NULL || !uuid_parse(dash + 1, (int) (end - dash - 1), &id))
		PG_RETURN_NULL();
	if (!is_ours(&id))
		PG_RETURN_NULL();
	PG_RETURN_INT32(cell_of(&id));
}
