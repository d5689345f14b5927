/*
 * source.c
 *		Where messages and events come from.
 */
#include "link/source.h"

#include "lib/text.h"

/* A name of pg_service.conf as a connection string, for the server that may be written to. */
char *
source_conninfo(const char *service)
{
	Text		conninfo = {0};

	text_add(&conninfo, "service='");
	for (const char *c = service; *c; c++)
	{
		if (*c == '\'' || *c == '\\')
			text_add(&conninfo, "\\");
		text_add_n(&conninfo, c, 1);
	}
	text_add(&conninfo, "' target_session_attrs=read-write");
	return text_take(&conninfo);
}
