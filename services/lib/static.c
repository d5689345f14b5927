/*
 * static.c
 *		Answers with files that the program carries: compressed where the client
 *		takes that, and not at all where it has them already.
 *
 * A client asks each time whether what it has is still good, which costs a short
 * answer; so a new build is seen at once.
 */
#include "lib/static.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/text.h"

/* The file of that name, NULL without. */
const StaticFile *
static_find(const StaticFile *files, const char *name)
{
	for (const StaticFile *file = files; file->name; file++)
		if (strcmp(file->name, name) == 0)
			return file;
	return NULL;
}

/* Whether Accept-Encoding names gzip, and not with a weight of nothing. */
bool
static_accepts_gzip(const char *accept)
{
	static const char coding[] = "gzip";

	for (const char *at = accept ? accept : ""; *at; at += strspn(at, ", \t"))
	{
		size_t		length = strcspn(at, ",");
		const char *weight = memchr(at, ';', length);

		if (strncasecmp(at, coding, sizeof(coding) - 1) == 0 &&
			strchr(", ;\t", at[sizeof(coding) - 1]))
		{
			weight = weight ? strstr(weight, "q=") : NULL;
			return weight == NULL || weight > at + length || strtod(weight + 2, NULL) > 0;
		}
		at += length;
	}
	return false;
}

/* Whether If-None-Match names the entity tag, be it as a weak one, or any. */
bool
static_is_known(const char *if_none_match, const char *etag)
{
	if (if_none_match == NULL)
		return false;
	return strcmp(if_none_match, "*") == 0 || strstr(if_none_match, etag) != NULL;
}

void
static_reply(HttpCall *call, const StaticFile *file)
{
	bool		gzip = static_accepts_gzip(http_header(call, "Accept-Encoding"));
	struct evkeyvalq *headers;
	char		etag[80];

	snprintf(etag, sizeof(etag), "\"%s%s\"", file->hash, gzip ? "-gz" : "");
	if (call->request)
	{
		headers = evhttp_request_get_output_headers(call->request);
		evhttp_add_header(headers, "Cache-Control", "no-cache");
		evhttp_add_header(headers, "ETag", etag);
		evhttp_add_header(headers, "Vary", "Accept-Encoding");
		if (static_is_known(http_header(call, "If-None-Match"), etag))
		{
			http_reply(call, 304, NULL, "", 0);
			return;
		}
		if (gzip)
			evhttp_add_header(headers, "Content-Encoding", "gzip");
	}
	if (gzip)
		http_reply(call, 200, file->type, (const char *) file->gzip, file->gzip_length);
	else
		http_reply(call, 200, file->type, (const char *) file->plain, file->plain_length);
}
