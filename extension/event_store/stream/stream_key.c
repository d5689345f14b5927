/*
 * stream_key.c
 *		The hashes by which streams and categories are indexed, for the SQL of
 *		views and lists.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "event_store/stream/stream.h"

PG_FUNCTION_INFO_V1(event_store_name_key);
/*
 * event_store._name_key(stream)
 */
Datum
event_store_name_key(PG_FUNCTION_ARGS)
{
	text	   *stream = PG_GETARG_TEXT_PP(0);
	StreamName	name;

	stream_name(&name, VARDATA_ANY(stream), VARSIZE_ANY_EXHDR(stream));
	PG_RETURN_INT64(name.key);
}

PG_FUNCTION_INFO_V1(event_store_category_key);
/*
 * event_store._category_key(category)
 */
Datum
event_store_category_key(PG_FUNCTION_ARGS)
{
	text	   *category = PG_GETARG_TEXT_PP(0);

	category_check(VARDATA_ANY(category), VARSIZE_ANY_EXHDR(category));
	PG_RETURN_INT32((int32) category_key(VARDATA_ANY(category), VARSIZE_ANY_EXHDR(category)));
}
