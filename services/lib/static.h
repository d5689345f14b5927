/*
 * static.h
 *		Files that a daemon carries in itself and serves.
 *
 * The script "archive" makes the table when the program is built: each file as it
 * is, and compressed.
 */
#ifndef SERVICES_LIB_STATIC_H
#define SERVICES_LIB_STATIC_H

#include "lib/http.h"

typedef struct StaticFile
{
	const char *name;			/* "app.css" */
	const char *type;			/* of media */
	const char *hash;			/* of the content, in hex */
	const unsigned char *plain;
	size_t		plain_length;
	const unsigned char *gzip;
	size_t		gzip_length;
} StaticFile;

/* The files end with a NULL name. */
const StaticFile *static_find(const StaticFile *files, const char *name);
bool		static_accepts_gzip(const char *accept);
bool		static_is_known(const char *if_none_match, const char *etag);
void		static_reply(HttpCall *call, const StaticFile *file);

#endif
