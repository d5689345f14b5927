/*
 * problem.c
 *		Errors as RFC 9457 problem documents, and what SQLSTATEs mean over HTTP.
 *
 * SQL functions of the services refuse a request with SQLSTATE HTnnn, where nnn
 * is the HTTP status; the message becomes the detail, and DETAIL may be a JSON
 * array of {field, detail}.  Anything else that goes wrong is translated by
 * the table below; what is our own fault is described to the client in general
 * words only.
 */
#include "lib/problem.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

typedef struct Translation
{
	const char *sqlstate;		/* or its beginning; the first match counts */
	int			status;
	const char *detail;			/* NULL: the server's message */
} Translation;

static const Translation translations[] = {
	{"ST001", 409, "the resource was changed by somebody else at the same time"},
	{"ST002", 409, "the resource was deleted"},
	{"23505", 409, "somebody else has made the same at the same time"},
	{"ST004", 422, NULL},
	{"MB002", 503, "too much work is waiting, try again later"},
	{"MB005", 422, NULL},
	{"22P05", 422, "text may not contain the character U+0000"},
	{"22", 422, NULL},
	{"40", 503, "too many changes at the same time, try again"},
	{"57014", 503, "the request took too long"},
	{"25006", 503, "the database is read-only at the moment"},
	{"08", 503, "the database cannot be reached"},
	{"53", 503, "the database is out of resources"},
	{"55", 503, "not possible at this moment, try again"},
	{"57", 503, "the database is being restarted"},
	{"", 500, "internal error; the log tells more under this correlation id"},
};

typedef struct Title
{
	int			status;
	const char *title;
} Title;

static const Title titles[] = {
	{400, "Bad request"},
	{401, "Unauthorized"},
	{403, "Forbidden"},
	{404, "Not found"},
	{405, "Method not allowed"},
	{409, "Conflict"},
	{412, "Precondition failed"},
	{413, "Content too large"},
	{415, "Unsupported media type"},
	{422, "Unprocessable content"},
	{429, "Too many requests"},
	{500, "Internal server error"},
	{503, "Service unavailable"},
};

const char *
problem_title(int status)
{
	for (size_t i = 0; i < lengthof(titles); i++)
		if (titles[i].status == status)
			return titles[i].title;
	return "Error";
}

/* results NULL: the batch waited too long for a connection. */
Problem
problem_of(const PgResults *results)
{
	const char *sqlstate = results ? pg_sqlstate(results) : "08000";
	Problem		problem = {0};

	if (strncmp(sqlstate, "HT", 2) == 0 && isdigit((unsigned char) sqlstate[2]))
	{
		const char *detail = pg_detail(results);

		problem.status = atoi(sqlstate + 2);
		problem.detail = pg_message(results);
		problem.errors = detail && detail[0] == '[' ? detail : NULL;
		return problem;
	}
	for (size_t i = 0; i < lengthof(translations); i++)
	{
		const Translation *t = &translations[i];

		if (strncmp(sqlstate, t->sqlstate, strlen(t->sqlstate)) != 0)
			continue;
		problem.status = t->status;
		problem.detail = t->detail ? t->detail : pg_message(results);
		break;
	}
	problem.ours = problem.status >= 500;
	return problem;
}

/* Adds the document; errors is a JSON array as text or NULL. */
void
problem_write(Text *target, int status, const char *detail, const char *errors,
			  const char *instance, const char *correlation_id)
{
	text_add(target, "{\"type\":\"about:blank\",\"title\":");
	text_json(target, problem_title(status));
	text_format(target, ",\"status\":%d,\"detail\":", status);
	text_json(target, detail);
	if (instance)
	{
		text_add(target, ",\"instance\":");
		text_json(target, instance);
	}
	if (correlation_id)
	{
		text_add(target, ",\"correlation_id\":");
		text_json(target, correlation_id);
	}
	if (errors)
		text_format(target, ",\"errors\":%s", errors);
	text_add(target, "}");
}
