/*
 * channel.c
 *		The channel that listeners of a category LISTEN to.
 */
#include "postgres.h"

#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "event_store/stream/channel.h"
#include "event_store/stream/stream.h"

/*
 * The channel of a category.  A name that would not fit is cut and gets a hash,
 * so that no category makes an append or a notification fail.
 */
void
event_channel(const char *category, int length, char *channel)
{
	static const char prefix[] = "event_store.";
	int			room = NAMEDATALEN - 1 - (int) strlen(prefix);

	if (length <= room)
		snprintf(channel, NAMEDATALEN, "%s%.*s", prefix, length, category);
	else
	{
		uint32		hash = category_key(category, length);
		int			kept = pg_mbcliplen(category, length, room - 9);

		snprintf(channel, NAMEDATALEN, "%s%.*s~%08x", prefix, kept, category, hash);
	}
}

PG_FUNCTION_INFO_V1(event_store_channel);
/*
 * event_store.channel(category)
 */
Datum
event_store_channel(PG_FUNCTION_ARGS)
{
	text	   *category = PG_GETARG_TEXT_PP(0);
	char		channel[NAMEDATALEN];

	event_channel(VARDATA_ANY(category), VARSIZE_ANY_EXHDR(category), channel);
	PG_RETURN_TEXT_P(cstring_to_text(channel));
}
