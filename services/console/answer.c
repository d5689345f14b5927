/*
 * answer.c
 *		Resources and actions: one SQL statement each, run as the role that has
 *		logged in; what it returns is the reply as it is.
 *
 * A resource is read in a transaction that can change nothing and is cut off
 * after two seconds.  An action takes a token besides the cookie, which another
 * site cannot know, and commits together with a record of who has done it.
 *
 * Header X-Database names another database than the one that lets people in; the role
 * is the same there, and that database's rights count.
 */
#include "console/answer.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "console/api.h"
#include "lib/arguments.h"
#include "lib/log.h"
#include "lib/problem.h"

#define COOKIE "ecommerce_console="
#define NSTEPS 3

/* A request that the database is asked about. */
typedef struct Asked
{
	HttpCall   *call;
	Login	   *login;
	const Resource *resource;
	const char *parameters[3];	/* of the record of an action */
	PgStep		steps[NSTEPS];
	int			answer;			/* the step whose row is the reply */
} Asked;

static bool actions_allowed;

static void ask(HttpCall *call, Login *whole, const Resource *resource);
static Login *login_of(HttpCall *call, Login *whole);
static void on_answered(void *argument, const PgResults *results);
static void refuse(const Asked *asked, const PgResults *results);
static void reply_error(HttpCall *call, int status, const PgResults *results);
static bool token_is(const char *given, const char *expected);

void
answer_start(bool actions)
{
	actions_allowed = actions;
}

/* Who asks; NULL: nobody that is logged in, and that is what was replied. */
Login *
answer_login(HttpCall *call)
{
	const char *cookies = http_header(call, "Cookie");
	const char *at = cookies ? strstr(cookies, COOKIE) : NULL;
	char		token[128];
	Login	   *login;

	if (at)
	{
		at += sizeof(COOKIE) - 1;
		copy_string(token, sizeof(token), at);
		token[strcspn(token, "; ")] = '\0';
	}
	login = login_find(at ? token : NULL);
	if (login == NULL)
		http_problem(call, 401, "you are not logged in", NULL);
	return login;
}

void
answer_resource(HttpCall *call)
{
	Login	   *login = answer_login(call);

	if (login && (call->body_length == 0 || answer_check_origin(call, login)))
		ask(call, login, api_resource(call->route));
}

void
answer_action(HttpCall *call)
{
	Login	   *login = answer_login(call);

	if (login == NULL)
		return;
	if (!actions_allowed)
		http_problem(call, 403, "this console only looks: consoled --actions lets it act", NULL);
	else if (answer_check_origin(call, login))
		ask(call, login, api_resource(call->route));
}

/* Whether one of our own pages asks, or refuses (having replied). */
bool
answer_check_origin(HttpCall *call, const Login *login)
{
	if (token_is(http_header(call, "X-CSRF-Token"), login_csrf(login)))
		return true;
	http_problem(call, 403, "the request does not come from a page of this console", NULL);
	return false;
}

static void
ask(HttpCall *call, Login *whole, const Resource *resource)
{
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(call->request);
	Login	   *login = login_of(call, whole);
	Asked	   *asked;
	PgStep	   *step;

	if (login == NULL || !arguments_gather(call, evhttp_uri_get_path(uri)))
		return;
	asked = memory_zero(1, sizeof(*asked));
	asked->call = call;
	asked->login = login;
	asked->resource = resource;
	step = asked->steps;
	if (resource->acts)
	{
		asked->parameters[0] = call->context.correlation_id;
		asked->parameters[1] = resource->name;
		asked->parameters[2] = call->body;
		*step++ = (PgStep) {&api_begin_action, asked->parameters};
	}
	else
		*step++ = (PgStep) {resource->slow ? &api_begin_slow : &api_begin_read, NULL};
	asked->answer = (int) (step - asked->steps);
	*step++ = (PgStep) {api_statement(call->route), (const char *const *) call->arguments};
	if (resource->acts)
		*step++ = (PgStep) {&api_record_action, asked->parameters + 1};
	if (!login_run(login, asked->steps, (int) (step - asked->steps),
				   resource->slow ? API_SLOW_DEADLINE_MS : API_DEADLINE_MS, on_answered, asked))
	{
		free(asked);
		http_problem(call, 503, "too many requests are waiting", NULL);
	}
}

/* The session in the database that is asked for, or refuses (having replied). */
static Login *
login_of(HttpCall *call, Login *whole)
{
	const char *database = http_header(call, "X-Database");
	Login	   *login = database && database[0] ? login_in(whole, database) : whole;

	if (login == NULL)
		http_problem(call, 422, "this console has no database of that name", NULL);
	return login;
}

static void
on_answered(void *argument, const PgResults *results)
{
	Asked	   *asked = argument;
	const char *body;

	if (results == NULL || !pg_succeeded(results))
		refuse(asked, results);
	else if (pg_rows(results, asked->answer) != 1 ||
			 (body = pg_value(results, asked->answer, 0, 0)) == NULL)
		http_problem(asked->call, 404, "there is nothing of that name", NULL);
	else
	{
		if (asked->resource->acts)
			log_write(LEVEL_INFORMATION, &asked->call->context, "{Role} did {Action}", "Role",
					  login_role(asked->login), "Action", asked->resource->name, NULL);
		http_reply_json(asked->call, 200, body);
	}
	free(asked);
}

/* What the server says reaches the browser: whoever asked could have asked it by himself. */
static void
refuse(const Asked *asked, const PgResults *results)
{
	const char *sqlstate = results ? pg_sqlstate(results) : "08000";
	const char *trouble = login_trouble(asked->login);

	if (login_ended(asked->login))
		http_problem(asked->call, 401, "the database does not let this role in any more", NULL);
	else if (results == NULL || strncmp(sqlstate, "08", 2) == 0 ||
			 (strncmp(sqlstate, "57", 2) == 0 && strcmp(sqlstate, "57014") != 0))
		http_problem(asked->call, 503, trouble ? trouble : "the database cannot be reached", NULL);
	else if (strcmp(sqlstate, "42501") == 0)
		reply_error(asked->call, 403, results);
	else if (strcmp(sqlstate, "57014") == 0)
		http_problem(asked->call, 503, "the database needs longer for this than the console waits",
					 NULL);
	else if (strcmp(sqlstate, "55P03") == 0)
		http_problem(asked->call, 503, "somebody has locked what this needs; Health says who",
					 NULL);
	else
	{
		int			status = problem_of(results).status;

		reply_error(asked->call, status == 500 ? 422 : status, results);
	}
}

/* The server's message, with SQLSTATE, detail and hint. */
static void
reply_error(HttpCall *call, int status, const PgResults *results)
{
	const char *names[] = {"sqlstate", "detail", "hint"};
	const char *values[] = {pg_sqlstate(results), pg_detail(results), pg_hint(results)};
	Text		errors = {0};

	text_add(&errors, "[{");
	for (size_t i = 0; i < lengthof(names); i++)
	{
		if (values[i] == NULL)
			continue;
		text_format(&errors, "%s\"%s\":", i > 0 ? "," : "", names[i]);
		text_json(&errors, values[i]);
	}
	text_add(&errors, "}]");
	http_problem(call, status, pg_message(results), errors.data);
	text_free(&errors);
}

static bool
token_is(const char *given, const char *expected)
{
	return given && strlen(given) == strlen(expected) &&
		CRYPTO_memcmp(given, expected, strlen(expected)) == 0;
}
