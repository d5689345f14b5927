/*
 * route.c
 *		Which route a path is for, and the parts of the path that are arguments.
 */
#include "lib/route.h"

#include <stdlib.h>
#include <string.h>

static size_t segment(const char **at);

/* Whether the path, without its query, has the pattern's form. */
bool
route_matches(const char *pattern, const char *path)
{
	while (*pattern && *path)
	{
		const char *p = pattern;
		const char *s = path;
		size_t		plength = segment(&pattern);
		size_t		slength = segment(&path);

		if (p[1] == ':')
		{
			if (slength < 2)
				return false;	/* an argument is never empty */
		}
		else if (plength != slength || strncmp(p, s, plength) != 0)
			return false;
	}
	return *pattern == '\0' && *path == '\0';
}

/* The decoded part of the path at ":name"; NULL if the pattern has none. */
char *
route_argument(const char *pattern, const char *path, const char *name, size_t length)
{
	while (*pattern && *path)
	{
		const char *p = pattern;
		const char *s = path;
		size_t		plength = segment(&pattern);
		size_t		slength = segment(&path);

		if (p[1] == ':' && plength == length + 2 && strncmp(p + 2, name, length) == 0)
		{
			char	   *raw = memory_string_n(s + 1, slength - 1);
			char	   *decoded = evhttp_uridecode(raw, 0, NULL);

			free(raw);
			return decoded;
		}
	}
	return NULL;
}

/* Moves behind "/..." and returns its length. */
static size_t
segment(const char **at)
{
	size_t		length = 1 + strcspn(*at + 1, "/");

	*at += length;
	return length;
}
