/*
 * main.c
 *		consoled: a web console that shows what is in the database, and lets mend it.
 *
 * Its pages are in the program.  What they show is asked for as the role that has
 * logged in; what all see alike is looked at once, by the daemon's own role, which
 * sees counts and lags but nothing that is stored.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "console/answer.h"
#include "console/api.h"
#include "console/guard.h"
#include "console/login.h"
#include "console/sampler.h"
#include "lib/arguments.h"
#include "lib/log.h"
#include "lib/service.h"
#include "lib/static.h"
#include "lib/text.h"

extern const StaticFile static_files[];

/* A log-in that the server is asked about. */
typedef struct Try
{
	HttpCall   *call;
	char	   *role;
	char		address[64];
} Try;

static char *also;
static char *own_name;
static char *others_text;		/* what the names and addresses below stand in */
static OtherDatabase others[LOGIN_MOST_OTHERS];
static int	nothers;
static bool allow_actions;
static bool secure_cookie;
static long idle_ms;
static long longest_ms;

static bool read_others(void);
static void serve_index(HttpCall *call);
static void serve_file(HttpCall *call);
static void log_in(HttpCall *call);
static bool may_try(HttpCall *call, const char *role, const char *address);
static void on_logged_in(void *argument, Login *login, const char *reason);
static void free_try(Try *attempt);
static void log_out(HttpCall *call);
static void caller_address(const HttpCall *call, char *address, size_t size);
static void set_cookie(HttpCall *call, const char *token);
static void tell_session(HttpCall *call);
static void reply_session(HttpCall *call, const Login *login);
static void stream(HttpCall *call);
static void samples(HttpCall *call);
static bool sees_counts(HttpCall *call, const Login *login);

static Option options[] = {
	{"also", OPTION_LIST, &also, "", 0, 0, NULL, false, false,
	"NAME=CONNINFO: another database to be looked at, as the same role"},
	{"name", OPTION_STRING, &own_name, "", 0, 0, NULL, false, false,
	"what the database is called among several; its own name unless told"},
	{"actions", OPTION_BOOLEAN, &allow_actions, "off", 0, 0, NULL, false, false,
	"let who has logged in do what his role may, not only look"},
	{"session-idle", OPTION_DURATION, &idle_ms, "30min", 10000, 86400000, NULL, false, false,
	"who has asked for nothing for so long is logged out"},
	{"session-length", OPTION_DURATION, &longest_ms, "12h", 60000, 604800000, NULL, false, false,
	"and everybody after so long"},
	{"secure-cookie", OPTION_BOOLEAN, &secure_cookie, "off", 0, 0, NULL, false, false,
	"the cookie goes over HTTPS only: for consoles behind a gateway that has it"},
	{NULL}
};

static const HttpHeader headers[] = {
	{"Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; "
		"connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; "
	"frame-ancestors 'none'; require-trusted-types-for 'script'"},
	{"X-Content-Type-Options", "nosniff"},
	{"Referrer-Policy", "no-referrer"},
	{"Cross-Origin-Opener-Policy", "same-origin"},
	{"Cross-Origin-Resource-Policy", "same-origin"},
	{NULL}
};

static const HttpRoute own_routes[] = {
	{"GET", "/", NULL, NULL, ACCESS_PUBLIC, serve_index},
	{"GET", "/app/:file", NULL, NULL, ACCESS_PUBLIC, serve_file},
	{"POST", "/api/log-in", NULL, "body", ACCESS_PUBLIC, log_in},
	{"POST", "/api/log-out", NULL, "?body", ACCESS_PUBLIC, log_out},
	{"GET", "/api/session", NULL, NULL, ACCESS_PUBLIC, tell_session},
	{"GET", "/api/live", NULL, NULL, ACCESS_PUBLIC, stream},
	{"GET", "/api/samples", NULL, "query:range query:prefix", ACCESS_PUBLIC, samples},
	{NULL}
};

static void
serve_index(HttpCall *call)
{
	static_reply(call, static_find(static_files, "index.html"));
}

static void
serve_file(HttpCall *call)
{
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(call->request);
	const StaticFile *file = static_find(static_files,
										 evhttp_uri_get_path(uri) + strlen("/app/"));

	if (file)
		static_reply(call, file);
	else
		http_problem(call, 404, "there is no such file", NULL);
}

/* {"role", "password"}: 200 with a cookie, or 401 with what the server said. */
static void
log_in(HttpCall *call)
{
	json_t	   *body = json_loads(call->body, 0, NULL);
	const char *role = json_string_value(json_object_get(body, "role"));
	const char *password = json_string_value(json_object_get(body, "password"));
	Try		   *attempt;

	if (role == NULL || role[0] == '\0' || password == NULL || password[0] == '\0')
	{
		http_problem(call, 422, "role and password are needed", NULL);
		json_decref(body);
		return;
	}
	attempt = memory_zero(1, sizeof(*attempt));
	attempt->call = call;
	attempt->role = memory_string(role);
	caller_address(call, attempt->address, sizeof(attempt->address));
	if (!may_try(call, role, attempt->address))
		free_try(attempt);
	else if (login_begin(role, password, on_logged_in, attempt))
		guard_begin(role, attempt->address, clock_steady_ms());
	else
	{
		http_problem(call, 503, "too many are logging in or logged in", NULL);
		free_try(attempt);
	}
	json_decref(body);
}

/* Not while somebody who gives wrong passwords has to wait; 429 is the reply then. */
static bool
may_try(HttpCall *call, const char *role, const char *address)
{
	long		wait = guard_wait(role, address, clock_steady_ms());
	Text		text = {0};

	if (wait == 0)
		return true;
	text_format(&text, "%ld", (wait + 999) / 1000);
	evhttp_add_header(evhttp_request_get_output_headers(call->request), "Retry-After", text.data);
	text_reset(&text);
	text_format(&text, "too many wrong passwords: the next try in %ld s", (wait + 999) / 1000);
	http_problem(call, 429, text.data, NULL);
	text_free(&text);
	return false;
}

static void
on_logged_in(void *argument, Login *login, const char *reason)
{
	Try		   *attempt = argument;

	if (login)
	{
		guard_succeeded(attempt->role, attempt->address);
		set_cookie(attempt->call, login_token(login));
		reply_session(attempt->call, login);
	}
	else
	{
		if (!sampler_sees_server())
			guard_take_back(attempt->role, attempt->address);
		log_write(LEVEL_WARNING, &attempt->call->context,
				  "{Role} was not let in from {Address}: {Reason}", "Role", attempt->role,
				  "Address", attempt->address, "Reason", reason, NULL);
		http_problem(attempt->call, sampler_sees_server() ? 401 : 503, reason, NULL);
	}
	free_try(attempt);
}

static void
free_try(Try *attempt)
{
	free(attempt->role);
	free(attempt);
}

/* Whence somebody comes; the gateway, which proves itself, says for whom it asks. */
static void
caller_address(const HttpCall *call, char *address, size_t size)
{
	const char *forwarded = http_header(call, "X-Forwarded-For");
	const char *last = forwarded ? strrchr(forwarded, ',') : NULL;
	char	   *peer = NULL;
	ev_uint16_t port;

	if (forwarded && call->identity.access & ACCESS_GATEWAY)
	{
		last = last ? last + 1 : forwarded;
		copy_string(address, size, last + strspn(last, " "));
		return;
	}
	evhttp_connection_get_peer(evhttp_request_get_connection(call->request), &peer, &port);
	copy_string(address, size, peer ? peer : "");
}

static void
log_out(HttpCall *call)
{
	Login	   *login = answer_login(call);

	if (login == NULL || !answer_check_origin(call, login))
		return;
	login_end(login);
	set_cookie(call, "");
	http_reply_json(call, 200, "{}");
}

/* Without a path, it goes where the console is, also behind a gateway. */
static void
set_cookie(HttpCall *call, const char *token)
{
	Text		cookie = {0};

	if (call->request == NULL)
		return;
	text_format(&cookie, "ecommerce_console=%s; Path=/; HttpOnly; SameSite=Strict%s%s", token,
				secure_cookie ? "; Secure" : "", token[0] ? "" : "; Max-Age=0");
	evhttp_add_header(evhttp_request_get_output_headers(call->request), "Set-Cookie",
					  cookie.data);
	text_free(&cookie);
}

static void
tell_session(HttpCall *call)
{
	Login	   *login = answer_login(call);

	if (login)
		reply_session(call, login);
}

static void
reply_session(HttpCall *call, const Login *login)
{
	Text		body = {0};

	text_format(&body, "{\"csrf\":\"%s\",\"actions\":%s,\"who\":%s,\"also\":[", login_csrf(login),
				allow_actions ? "true" : "false", login_facts(login));
	for (int i = 0; i < nothers; i++)
	{
		text_add(&body, i > 0 ? "," : "");
		text_json(&body, others[i].name);
	}
	text_add(&body, "],\"name\":");
	text_json(&body, own_name);
	text_add(&body, "}");
	http_reply_json(call, 200, body.data);
	text_free(&body);
}

static void
stream(HttpCall *call)
{
	Login	   *login = answer_login(call);

	if (login && sees_counts(call, login))
		sampler_subscribe(call, login);
}

static void
samples(HttpCall *call)
{
	Login	   *login = answer_login(call);

	if (login == NULL || !sees_counts(call, login))
		return;
	if (arguments_gather(call, "/api/samples"))
		sampler_answer(call, http_parameter(call, "range"), http_parameter(call, "prefix"));
}

/* What the daemon's own role has seen is for those who may see it themselves. */
static bool
sees_counts(HttpCall *call, const Login *login)
{
	json_t	   *facts = json_loads(login_facts(login), 0, NULL);
	bool		may = json_is_true(json_object_get(facts, "monitor"));

	json_decref(facts);
	if (!may)
		http_problem(call, 403, "this takes a member of ecommerce_monitor or ecommerce_reader",
					 NULL);
	return may;
}

static void
forget(const Login *login)
{
	sampler_drop(login);
}

/* Option also: lines NAME=CONNINFO. */
static bool
read_others(void)
{
	char	   *rest = others_text = memory_string(also);
	char	   *line;

	while ((line = strsep(&rest, "\n")) != NULL)
	{
		char	   *equals = strchr(line, '=');

		if (line[0] == '\0')
			continue;
		if (equals == NULL || equals == line || nothers == LOGIN_MOST_OTHERS)
		{
			log_write(LEVEL_ERROR, NULL, "Option also is NAME=CONNINFO, {Most} times at most, "
										 "not {Value}",
					  "Most", "32", "Value", line, NULL);
			return false;
		}
		*equals = '\0';
		others[nothers++] = (OtherDatabase) {line, equals + 1};
	}
	return true;
}

static bool
start(Runtime *runtime)
{
	static const PgStep setup = {&api_session_settings, NULL};

	if (!read_others())
		return false;
	answer_start(allow_actions);
	logins_start(&(LoginOptions) {
		.base = runtime->base, .conninfo = runtime->conninfo, .others = others,
		.nothers = nothers, .application = "ecommerce console",
		.setup = &setup, .whoami = &api_whoami, .idle_ms = idle_ms, .longest_ms = longest_ms,
		.server_is_up = sampler_sees_server, .ended = forget
	});
	sampler_start(runtime);
	return true;
}

static void
stop(void)
{
	logins_stop();
	sampler_stop();
	free(others_text);
	others_text = NULL;
	nothers = 0;
}

int
main(int argc, char **argv)
{
	Service		service = {
		.program = "consoled", .source = "Console", .role = "ecommerce_console", .port = "5006",
		.options = options, .start = start, .stop = stop, .headers = headers, .pool_size = "1",
		.metrics = sampler_write_metrics
	};
	int			code;

	service.routes = api_routes(own_routes, answer_resource, answer_action);
	code = service_main(&service, argc, argv);
	api_routes_free();
	return code;
}
