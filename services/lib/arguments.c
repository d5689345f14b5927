/*
 * arguments.c
 *		What a route's function is called with, out of path, query, headers, body
 *		and identity; http.h says how a route names it.
 *
 * Nothing goes unread: a query parameter that the route does not name is
 * refused, and so is text that PostgreSQL would not take.
 */
#include "lib/arguments.h"

#include <stdio.h>
#include <string.h>
#include <event2/keyvalq_struct.h>

#include "lib/route.h"

static bool check_query(HttpCall *call, const struct evkeyvalq *query);
static bool takes(const HttpRoute *route, const char *name);
static bool check_text(HttpCall *call, const char *source, size_t length);
static char *find_argument(HttpCall *call, const char *path, const struct evkeyvalq *query,
						   const char *source, size_t length);
static bool refuse_field(HttpCall *call, const char *detail, const char *field, const char *what);

/* How many there are in a route's list. */
int
arguments_count(const char *arguments)
{
	int			n = 0;

	for (const char *at = arguments ? arguments : ""; *at; at += strcspn(at, " "))
	{
		at += strspn(at, " ");
		n += *at ? 1 : 0;
	}
	return n;
}

/* Fills in the arguments of the call's function, or refuses (having replied). */
bool
arguments_gather(HttpCall *call, const char *path)
{
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(call->request);
	const char *query_text = evhttp_uri_get_query(uri);
	struct evkeyvalq query;
	const char *at = call->route->arguments ? call->route->arguments : "";
	bool		good;

	if (evhttp_parse_query_str(query_text ? query_text : "", &query) != 0)
	{
		http_problem(call, 400, "malformed query", NULL);
		return false;
	}
	good = check_query(call, &query);
	while (good && *(at += strspn(at, " ")))
	{
		size_t		length = strcspn(at, " ");

		call->arguments[call->narguments++] = find_argument(call, path, &query, at, length);
		good = check_text(call, at, length);
		at += length;
	}
	evhttp_clear_headers(&query);
	return good;
}

/* The value of a parameter that the call's route names, NULL without. */
const char *
http_parameter(const HttpCall *call, const char *name)
{
	const char *at = call->route->arguments;

	for (int i = 0; i < call->narguments; i++)
	{
		at += strspn(at, " ");
		if (strncmp(at, "query:", 6) == 0 && strcspn(at + 6, " ") == strlen(name) &&
			strncmp(at + 6, name, strlen(name)) == 0)
			return call->arguments[i];
		at += strcspn(at, " ");
	}
	return NULL;
}

/*
 * A parameter that nobody reads would be a filter that does not filter, for
 * whoever has misspelt it.
 */
static bool
check_query(HttpCall *call, const struct evkeyvalq *query)
{
	const struct evkeyval *pair;
	const struct evkeyval *other;

	for (pair = query->tqh_first; pair; pair = pair->next.tqe_next)
	{
		if (!takes(call->route, pair->key))
			return refuse_field(call, "there is no such parameter", pair->key,
								"is no parameter of this resource");
		for (other = pair->next.tqe_next; other; other = other->next.tqe_next)
			if (strcmp(pair->key, other->key) == 0)
				return refuse_field(call, "a parameter is given twice", pair->key,
									"is given twice");
	}
	return true;
}

/* Whether "query:name" is among the arguments of the route. */
static bool
takes(const HttpRoute *route, const char *name)
{
	static const char source[] = "query:";
	const char *at = route->arguments ? route->arguments : "";

	for (; *(at += strspn(at, " ")); at += strcspn(at, " "))
	{
		size_t		length = strcspn(at, " ");

		if (length == strlen(source) + strlen(name) &&
			strncmp(at, source, strlen(source)) == 0 &&
			strncmp(at + strlen(source), name, strlen(name)) == 0)
			return true;
	}
	return false;
}

/* Refuses the newest argument unless it is UTF-8; the body's is known to be. */
static bool
check_text(HttpCall *call, const char *source, size_t length)
{
	const char *value = call->arguments[call->narguments - 1];
	const char *colon = memchr(source, ':', length);
	char		name[64];

	if (value == NULL || colon == NULL || utf8_valid(value))
		return true;
	snprintf(name, sizeof(name), "%.*s", (int) (length - (size_t) (colon + 1 - source)), colon + 1);
	return refuse_field(call, "the request has text that is not UTF-8", name, "is not UTF-8");
}

/* A 422 that names one field; returns false. */
static bool
refuse_field(HttpCall *call, const char *detail, const char *field, const char *what)
{
	Text		errors = {0};

	text_add(&errors, "[{\"field\":");
	text_json(&errors, field);
	text_add(&errors, ",\"detail\":");
	text_json(&errors, what);
	text_add(&errors, "}]");
	http_problem(call, 422, detail, errors.data);
	text_free(&errors);
	return false;
}

/* The value that "body", "path:x", "query:x" and so on stand for, or NULL. */
static char *
find_argument(HttpCall *call, const char *path, const struct evkeyvalq *query,
			  const char *source, size_t length)
{
	const char *colon = memchr(source, ':', length);
	char		name[64];

	if (colon == NULL)
	{
		if (strncmp(source, "verified", length) == 0)
			return memory_string(call->verified);
		if (strncmp(source, "caller", length) == 0)
			return call->identity.customer_id[0] ? memory_string(call->identity.customer_id) : NULL;
		return call->body_length > 0 ? memory_string(call->body) : NULL;
	}
	snprintf(name, sizeof(name), "%.*s", (int) (length - (size_t) (colon + 1 - source)), colon + 1);
	if (strncmp(source, "path", 4) == 0)
		return route_argument(call->route->pattern, path, name, strlen(name));
	if (strncmp(source, "query", 5) == 0)
		return memory_string(evhttp_find_header(query, name));
	return memory_string(http_header(call, name));
}
