/*
 * http.c
 *		HTTP server on libevent: finds the route, lets one SQL function answer,
 *		and replies.
 *
 * A request that changes something runs in one transaction with its context,
 * so everything it appends and publishes carries the correlation id.  A client
 * that goes away does not stop the transaction; the reply is dropped.
 */
#include "lib/http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <event2/buffer.h>
#include <event2/keyvalq_struct.h>

#include "lib/api.h"
#include "lib/arguments.h"
#include "lib/body.h"
#include "lib/follow.h"
#include "lib/log.h"
#include "lib/metrics.h"
#include "lib/once.h"
#include "lib/problem.h"
#include "lib/route.h"
#include "lib/trace.h"

#define RACES_MAX 5
#define HARD_BODY_FACTOR 4		/* beyond that many times the limit libevent hangs up */

struct HttpServer
{
	HttpOptions options;
	struct evhttp *http;
	struct evhttp_bound_socket *socket;
	PgStatement **statements;	/* parallel to options.routes */
	PgStatement **once;			/* likewise, for a request with an Idempotency-Key */
	int			nroutes;
	int			pending;		/* requests without a reply */
	int			sending;		/* replies that the network has not taken yet */
};

static void add_headers(HttpCall *call, const char *type);
static void add_length(struct evkeyvalq *headers, size_t length);
static void on_request(struct evhttp_request *request, void *argument);
static void on_client_gone(struct evhttp_connection *connection, void *argument);
static void on_reply_sent(struct evhttp_request *request, void *argument);
static void on_reply_lost(struct evhttp_connection *connection, void *argument);
static bool check_routes(const HttpRoute *routes);
static bool admit(HttpCall *call);
static const HttpRoute *find_route(const HttpRoute *routes, const char *method, const char *path,
								   Text *allowed);
static const char *method_name(enum evhttp_cmd_type type);
static bool take_body(HttpCall *call);
static void run_function(HttpCall *call);
static void on_answered(void *argument, const PgResults *results);
static void refuse(HttpCall *call, const PgResults *results);
static void end_call(HttpCall *call, int status);

/* Listens; returns NULL, having said why, when that cannot be done. */
HttpServer *
http_start(const HttpOptions *options)
{
	HttpServer *server;

	if (!check_routes(options->routes))
		return NULL;
	server = memory_zero(1, sizeof(*server));
	server->options = *options;
	server->http = evhttp_new(options->base);
	evhttp_set_max_headers_size(server->http, 16 * 1024);
	evhttp_set_max_body_size(server->http, (ev_ssize_t) options->max_body * HARD_BODY_FACTOR);
	evhttp_set_timeout(server->http, (int) (options->timeout_ms / 1000));
	evhttp_set_allowed_methods(server->http, EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_PUT |
							   EVHTTP_REQ_DELETE | EVHTTP_REQ_HEAD | EVHTTP_REQ_PATCH |
							   EVHTTP_REQ_OPTIONS);
	evhttp_set_gencb(server->http, on_request, server);
	while (options->routes[server->nroutes].method)
		server->nroutes++;
	server->statements = memory_zero((size_t) server->nroutes, sizeof(PgStatement *));
	server->once = memory_zero((size_t) server->nroutes, sizeof(PgStatement *));
	for (int i = 0; i < server->nroutes; i++)
	{
		const HttpRoute *route = &options->routes[i];

		if (route->function == NULL)
			continue;
		server->statements[i] =
			api_http_function(route->function, arguments_count(route->arguments));
		if (once_applies(route))
			server->once[i] = api_once_function(route->function);
	}
	server->socket = evhttp_bind_socket_with_handle(server->http, options->address,
													(ev_uint16_t) options->port);
	if (server->socket == NULL)
	{
		char		port[12];

		snprintf(port, sizeof(port), "%d", options->port);
		log_write(LEVEL_FATAL, NULL, "Cannot listen on {Address} port {Port}", "Address",
				  options->address, "Port", port, NULL);
		http_stop(server);
		return NULL;
	}
	return server;
}

/* Accepts nothing more; what is under way is finished. */
void
http_drain(HttpServer *server)
{
	if (server->socket)
		evhttp_del_accept_socket(server->http, server->socket);
	server->socket = NULL;
}

/* Requests that are not answered yet, down to the last byte. */
int
http_pending(const HttpServer *server)
{
	return server->pending + server->sending;
}

void
http_stop(HttpServer *server)
{
	if (server == NULL)
		return;
	evhttp_free(server->http);
	for (int i = 0; i < server->nroutes; i++)
	{
		api_free(server->statements[i]);
		api_free(server->once[i]);
	}
	free(server->statements);
	free(server->once);
	free(server);
}

void
http_reply(HttpCall *call, int status, const char *type, const char *body, size_t length)
{
	struct evhttp_request *request = call->request;

	if (request)
	{
		struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
		struct evbuffer *buffer = evbuffer_new();

		add_headers(call, type);
		if (status == 503)
			evhttp_add_header(headers, "Retry-After", "1");
		if (evhttp_request_get_command(request) == EVHTTP_REQ_HEAD)
			add_length(headers, length);
		else
			evbuffer_add(buffer, body, length);
		call->server->sending++;
		evhttp_request_set_on_complete_cb(request, on_reply_sent, call->server);
		evhttp_connection_set_closecb(evhttp_request_get_connection(request), on_reply_lost,
									  call->server);
		evhttp_send_reply(request, status, status >= 400 ? problem_title(status) : NULL, buffer);
		evbuffer_free(buffer);
	}
	end_call(call, status);
}

/*
 * Ends the call, whose answer goes on for as long as the client is there: the
 * caller has the request from now on, whose headers are set.  NULL: it has gone.
 */
struct evhttp_request *
http_detach(HttpCall *call, const char *type)
{
	struct evhttp_request *request = call->request;

	if (request)
	{
		add_headers(call, type);
		evhttp_connection_set_closecb(evhttp_request_get_connection(request), NULL, NULL);
	}
	end_call(call, 200);
	return request;
}

/* What every reply carries; a handler may have said how long its own may be kept. */
static void
add_headers(HttpCall *call, const char *type)
{
	struct evkeyvalq *headers = evhttp_request_get_output_headers(call->request);

	if (type)
		evhttp_add_header(headers, "Content-Type", type);
	evhttp_add_header(headers, "X-Correlation-Id", call->context.correlation_id);
	if (evhttp_find_header(headers, "Cache-Control") == NULL)
		evhttp_add_header(headers, "Cache-Control", "no-store");
	for (const HttpHeader *header = call->server->options.headers; header && header->name;
		 header++)
		evhttp_add_header(headers, header->name, header->value);
}

/* What the body would be long, of an answer without. */
static void
add_length(struct evkeyvalq *headers, size_t length)
{
	char		text[24];

	snprintf(text, sizeof(text), "%zu", length);
	evhttp_add_header(headers, "Content-Length", text);
}

void
http_reply_json(HttpCall *call, int status, const char *body)
{
	http_reply(call, status, "application/json", body, strlen(body));
}

/* Replies with a problem document; errors is a JSON array as text or NULL. */
void
http_problem(HttpCall *call, int status, const char *detail, const char *errors)
{
	Text		body = {0};

	problem_write(&body, status, detail, errors,
				  call->request ? evhttp_request_get_uri(call->request) : NULL,
				  call->context.correlation_id);
	http_reply(call, status, "application/problem+json", body.data, body.length);
	text_free(&body);
}

/* A header of the request, NULL if it has none. */
const char *
http_header(const HttpCall *call, const char *name)
{
	return call->request ? evhttp_find_header(evhttp_request_get_input_headers(call->request),
											  name)
						 : NULL;
}

static void
on_request(struct evhttp_request *request, void *argument)
{
	HttpServer *server = argument;
	HttpCall   *call = memory_zero(1, sizeof(*call));
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(request);
	const char *path = uri ? evhttp_uri_get_path(uri) : NULL;
	const char *method = method_name(evhttp_request_get_command(request));
	struct evkeyvalq *headers = evhttp_request_get_input_headers(request);
	Text		allowed = {0};

	call->server = server;
	call->request = request;
	call->started_ns = clock_wall_ns();
	context_start(&call->context, evhttp_find_header(headers, "X-Correlation-Id"),
				  evhttp_find_header(headers, "traceparent"));
	/* the gateway has begun the trace, and tells nobody of a span of its own */
	if (evhttp_find_header(headers, "X-Trace-Begins"))
		call->context.parent_span_id[0] = '\0';
	identity_take(&call->identity, &call->context, headers, server->options.gateway_secret);
	server->pending++;
	evhttp_connection_set_closecb(evhttp_request_get_connection(request), on_client_gone, call);
	if (path == NULL || path[0] == '\0')
		path = "/";
	call->route = find_route(server->options.builtin, method, path, &allowed);
	if (call->route == NULL)
		call->route = find_route(server->options.routes, method, path, &allowed);
	if (call->route)
		snprintf(call->context.subject, sizeof(call->context.subject), "%s %s",
				 call->route->method, call->route->pattern);
	else
		copy_string(call->context.subject, sizeof(call->context.subject), "unknown");

	if (call->route == NULL && allowed.length > 0)
	{
		evhttp_add_header(evhttp_request_get_output_headers(request), "Allow", allowed.data);
		http_problem(call, 405, "this resource does not know the method", NULL);
	}
	else if (call->route == NULL)
		http_problem(call, 404, "there is no such resource", NULL);
	else if (!admit(call) || !take_body(call))
		;						/* has replied */
	else if (call->route->handler)
		call->route->handler(call);
	else if (call->route->verify && !call->route->verify(call))
		;
	else if (arguments_gather(call, path))
	{
		once_prepare(call);
		run_function(call);
	}
	text_free(&allowed);
}

/*
 * Whether each route says whom it lets in, and tells its function the customer
 * where customers see only what is theirs.
 */
static bool
check_routes(const HttpRoute *routes)
{
	for (const HttpRoute *route = routes; route->method; route++)
	{
		const char *arguments = route->arguments ? route->arguments : "";

		if (route->access != 0 &&
			!(route->access & ACCESS_OWN) == (strstr(arguments, "caller") == NULL))
			continue;
		log_write(LEVEL_FATAL, NULL, "The route {Method} {Pattern} does not say who may use it",
				  "Method", route->method, "Pattern", route->pattern, NULL);
		return false;
	}
	return true;
}

/* Refuses whom the route does not let in. */
static bool
admit(HttpCall *call)
{
	static const char challenge[] = "Bearer realm=\"ecommerce\"";
	static const char insufficient[] = "Bearer realm=\"ecommerce\", error=\"insufficient_scope\"";
	int			known = call->identity.access & ~(ACCESS_PUBLIC | ACCESS_GATEWAY);

	if (call->route->access & call->identity.access)
		return true;
	evhttp_add_header(evhttp_request_get_output_headers(call->request), "WWW-Authenticate",
					  known ? insufficient : challenge);
	if (known)
		http_problem(call, 403, "the scope of your key does not allow this", NULL);
	else
		http_problem(call, 401, "this takes an API key: Authorization: Bearer KEY", NULL);
	return false;
}

static void
on_client_gone(struct evhttp_connection *connection, void *argument)
{
	HttpCall   *call = argument;

	(void) connection;
	/* one that its connection has let go of is ours to free */
	if (evhttp_request_get_connection(call->request) == NULL)
		evhttp_request_free(call->request);
	call->request = NULL;
}

static void
on_reply_sent(struct evhttp_request *request, void *argument)
{
	HttpServer *server = argument;

	server->sending--;
	evhttp_connection_set_closecb(evhttp_request_get_connection(request), NULL, NULL);
}

static void
on_reply_lost(struct evhttp_connection *connection, void *argument)
{
	HttpServer *server = argument;

	(void) connection;
	server->sending--;
}

/* Also gathers which methods the path would allow. */
static const HttpRoute *
find_route(const HttpRoute *routes, const char *method, const char *path, Text *allowed)
{
	for (const HttpRoute *route = routes; route && route->method; route++)
	{
		if (!route_matches(route->pattern, path))
			continue;
		if (strcmp(route->method, method) == 0)
			return route;
		text_format(allowed, "%s%s%s", allowed->length ? ", " : "", route->method,
					strcmp(route->method, "GET") == 0 ? ", HEAD" : "");
	}
	return NULL;
}

static const char *
method_name(enum evhttp_cmd_type type)
{
	switch (type)
	{
		case EVHTTP_REQ_GET:
		case EVHTTP_REQ_HEAD:	/* the same without the body */
			return "GET";
		case EVHTTP_REQ_POST:
			return "POST";
		case EVHTTP_REQ_PUT:
			return "PUT";
		default:
			return "OTHER";
	}
}

/* Copies the body out; refuses one that is too long or not JSON. */
static bool
take_body(HttpCall *call)
{
	struct evbuffer *buffer = evhttp_request_get_input_buffer(call->request);
	const char *arguments = call->route->arguments ? call->route->arguments : "";
	const char *body = strstr(arguments, "body");
	Text		detail = {0};
	int			status;

	call->body_length = evbuffer_get_length(buffer);
	if (call->body_length > call->server->options.max_body)
	{
		http_problem(call, 413, "the body is too large", NULL);
		return false;
	}
	call->body = memory_zero(call->body_length + 1, 1);
	evbuffer_copyout(buffer, call->body, call->body_length);
	if (body == NULL)
		return true;
	if (call->body_length == 0 && body > arguments && body[-1] == '?')
		return true;
	status = body_refusal(http_header(call, "Content-Type"), http_header(call, "Content-Encoding"),
						  call->body, call->body_length, &detail);
	if (status != 0)
		http_problem(call, status, detail.data, NULL);
	text_free(&detail);
	return status == 0;
}

/* Sends the context and the function as one transaction. */
static void
run_function(HttpCall *call)
{
	HttpServer *server = call->server;
	const PgStatement *statement = server->statements[call->route - server->options.routes];

	call->nsteps = 0;
	call->sent_ns = clock_wall_ns();
	if (strcmp(call->route->method, "GET") != 0)
	{
		context_traceparent(&call->context, call->traceparent);
		call->context_parameters[0] = call->context.correlation_id;
		call->context_parameters[1] = call->context.user_id[0] ? call->context.user_id : NULL;
		call->context_parameters[2] = call->context.tenant_id[0] ? call->context.tenant_id : NULL;
		call->context_parameters[3] = call->traceparent;
		call->steps[call->nsteps++] = (PgStep) {&api_set_context, call->context_parameters};
	}
	if (call->once_arguments)
		call->steps[call->nsteps++] =
			(PgStep) {server->once[call->route - server->options.routes], call->once_parameters};
	else
		call->steps[call->nsteps++] =
			(PgStep) {statement, (const char *const *) call->arguments};
	if (!pool_run(server->options.pool, call->steps, call->nsteps, server->options.timeout_ms,
				  on_answered, call))
		http_problem(call, 503, "too many requests are waiting", NULL);
}

static void
on_answered(void *argument, const PgResults *results)
{
	HttpCall   *call = argument;
	HttpServer *server = call->server;
	const char *body;
	const char *etag;
	const char *location;
	int			last = call->nsteps - 1;
	Context		statement;

	context_child(&statement, &call->context);
	trace_record(&statement, SPAN_CLIENT, call->route->function, call->sent_ns, clock_wall_ns(),
				 results && pg_succeeded(results) ? NULL
				 : results						  ? pg_sqlstate(results)
												  : "no connection was free in time");
	if (results == NULL || !pg_succeeded(results))
	{
		refuse(call, results);
		return;
	}
	if (pg_rows(results, last) != 1)
	{
		http_problem(call, 404, "there is no such resource", NULL);
		return;
	}
	body = pg_value(results, last, 0, REPLY_BODY);
	etag = pg_value(results, last, 0, REPLY_ETAG);
	location = pg_value(results, last, 0, REPLY_LOCATION);
	if (call->route->follows &&
		follower_keeps(server->options.follower, call, body, run_function))
		return;
	if (call->request)
	{
		struct evkeyvalq *headers = evhttp_request_get_output_headers(call->request);

		if (etag)
			evhttp_add_header(headers, "ETag", etag);
		if (location)
			evhttp_add_header(headers, "Location", location);
	}
	http_reply(call, atoi(pg_value(results, last, 0, REPLY_STATUS)),
			   body ? "application/json" : NULL, body ? body : "", body ? strlen(body) : 0);
}

/* The function failed: once more if it only lost a race, else a problem. */
static void
refuse(HttpCall *call, const PgResults *results)
{
	Problem		problem = problem_of(results);

	if (results && !pg_lost(results) && api_lost_race(pg_sqlstate(results)) &&
		call->request && call->races++ < RACES_MAX)
	{
		log_write(LEVEL_INFORMATION, &call->context, "Concurrency conflict, trying again: {Error}",
				  "Error", pg_message(results), "SqlState", pg_sqlstate(results), NULL);
		run_function(call);
		return;
	}
	if (problem.ours)
		log_write(LEVEL_ERROR, &call->context, "Request failed: {Error}", "Error",
				  results ? pg_message(results) : "no connection was free in time",
				  "SqlState", results ? pg_sqlstate(results) : "",
				  "Detail", results ? pg_detail(results) : "", NULL);
	http_problem(call, problem.status, problem.detail, problem.errors);
}

/* Counts, traces, logs, frees. */
static void
end_call(HttpCall *call, int status)
{
	uint64_t	now = clock_wall_ns();
	const char *route = call->route ? call->route->pattern : "unknown";
	char		status_text[12];
	char		duration[24];

	snprintf(status_text, sizeof(status_text), "%d", status);
	snprintf(duration, sizeof(duration), "%.3f", (double) (now - call->started_ns) / 1e6);
	metrics_count(&metric_http_requests, 1, call->route ? call->route->method : "unknown", route,
				  status_text);
	metrics_observe(&metric_http_duration, (double) (now - call->started_ns) / 1e9, route);
	/* probes and scrapes would drown everything else */
	if (call->route == NULL || call->route->function)
	{
		trace_record(&call->context, SPAN_SERVER, call->context.subject, call->started_ns, now,
					 status >= 500 ? status_text : NULL);
		log_write(LEVEL_INFORMATION, &call->context, "{Route} answered {Status} in {DurationMs} ms",
				  "Status", status_text, "DurationMs", duration, NULL);
	}
	call->server->pending--;
	free(call->body);
	free(call->verified);
	once_free(call);
	for (int i = 0; i < call->narguments; i++)
		free(call->arguments[i]);
	free(call);
}
