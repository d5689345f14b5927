/*
 * foreign_id.c
 *		Ids of other systems as ours.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "pg/context.h"
#include "pg/uuid_v5.h"

/* uuid_v5 of the DNS namespace and "bridge.ecommerce". */
static const pg_uuid_t space = {{
	0xc9, 0x08, 0x22, 0x0c, 0x45, 0x8d, 0x5f, 0x5c,
	0x99, 0x62, 0xa5, 0x8a, 0x56, 0xf1, 0x8e, 0x88
}};

static const pg_uuid_t nil = {{0}};

PG_FUNCTION_INFO_V1(message_bus_foreign_id);
/*
 * message_bus._foreign_id(id, scope)
 */
Datum
message_bus_foreign_id(PG_FUNCTION_ARGS)
{
	text	   *id = PG_GETARG_TEXT_PP(0);
	int			length = VARSIZE_ANY_EXHDR(id);
	pg_uuid_t  *uuid = palloc(sizeof(pg_uuid_t));

	if (length == 0)
		PG_RETURN_NULL();
	if (!uuid_parse(VARDATA_ANY(id), length, uuid))
	{
		char	   *scope = text_to_cstring(PG_GETARG_TEXT_PP(1));

		uuid_v5(&space, psprintf("%s %s", scope, text_to_cstring(id)), uuid);
	}
	else if (memcmp(uuid, &nil, sizeof(nil)) == 0)
		PG_RETURN_NULL();
	PG_RETURN_UUID_P(uuid);
}
