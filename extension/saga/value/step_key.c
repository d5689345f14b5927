/*
 * step_key.c
 *		Names of commands that are the same whenever they are worked out.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "pg/context.h"
#include "saga/value/step_key.h"

/* uuid_v5 of the DNS namespace and "saga.ecommerce". */
static const pg_uuid_t saga_space = {{
	0x7f, 0xb3, 0x54, 0xa3, 0x54, 0xcb, 0x50, 0xcf,
	0xa6, 0xa2, 0xf4, 0x77, 0xd5, 0x53, 0xe5, 0x48
}};

/* Without the letters and digits that people mistake for one another. */
static const char reference_digits[] = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ";

/*
 * The namespace of step keys, ecommerce.saga_namespace() in SQL.
 */
const pg_uuid_t *
step_key_namespace(void)
{
	return &saga_space;
}

/*
 * The key of one attempt at a step, as text.
 */
char *
step_key(const char *saga, const char *correlation_id, const char *step, const char *attempt)
{
	pg_uuid_t	key;

	uuid_v5(&saga_space, psprintf("%s:%s:%s:%s", saga, correlation_id, step, attempt), &key);
	return uuid_text(&key);
}

/*
 * A short name of an instance for people: twelve letters and digits.
 */
char *
step_key_reference(const pg_uuid_t *id)
{
	char	   *reference = palloc(13);
	uint64		bits = 0;

	/* The last 60 bits: random in versions 4, 5 and 7. */
	for (int i = 8; i < UUID_LEN; i++)
		bits = bits << 8 | id->data[i];
	for (int i = 0; i < 12; i++)
		reference[i] = reference_digits[(bits >> (5 * i)) & 31];
	reference[12] = '\0';
	return reference;
}

char *
uuid_text(const pg_uuid_t *uuid)
{
	return DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(uuid)));
}

/*
 * A string that is a UUID, else NULL.
 */
pg_uuid_t *
uuid_from_tree(const Tree *tree)
{
	pg_uuid_t  *uuid = palloc(sizeof(pg_uuid_t));

	if (tree == NULL || tree->type != TREE_STRING ||
		!uuid_parse(tree->as.string, tree->count, uuid))
		return NULL;
	return uuid;
}

PG_FUNCTION_INFO_V1(ecommerce_uuid_v5);
PG_FUNCTION_INFO_V1(ecommerce_saga_namespace);

Datum
ecommerce_uuid_v5(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *uuid = palloc(sizeof(pg_uuid_t));

	uuid_v5(PG_GETARG_UUID_P(0), text_to_cstring(PG_GETARG_TEXT_PP(1)), uuid);
	PG_RETURN_UUID_P(uuid);
}

Datum
ecommerce_saga_namespace(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *uuid = palloc(sizeof(pg_uuid_t));

	*uuid = saga_space;
	PG_RETURN_UUID_P(uuid);
}
