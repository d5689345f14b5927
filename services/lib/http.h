/*
 * http.h
 *		HTTP server: routes as a table, most of them answered by one SQL function.
 */
#ifndef SERVICES_LIB_HTTP_H
#define SERVICES_LIB_HTTP_H

#include <event2/event.h>
#include <event2/http.h>

#include "lib/context.h"
#include "lib/identity.h"
#include "lib/pool.h"
#include "lib/text.h"

#define HTTP_MAX_ARGUMENTS 10

typedef struct HttpCall HttpCall;

/*
 * A route's function is fn(...) RETURNS (status int, body jsonb, etag text,
 * location text); its arguments come from "body", "path:name", "query:name",
 * "header:Name", "caller" (the customer whose key it is, null for anybody else)
 * and "verified" in that order, all as text, null if absent.  "?body" may be
 * empty.  With a handler instead, C answers.  verify runs first and may refuse
 * (having replied); what it puts into call->verified is passed as argument
 * "verified".  access says who is let in, see identity.h: this table is the one
 * place where that stands.  The table ends with a NULL method.
 *
 * A request that changes something is done once per Idempotency-Key, whatever its
 * route: the function once() of the service's schema calls the route's then.
 */
typedef struct HttpRoute
{
	const char *method;
	const char *pattern;		/* "/orders/:id/cancel" */
	const char *function;
	const char *arguments;		/* separated by spaces */
	int			access;			/* enum Access, or-ed */
	void		(*handler) (HttpCall *call);
	bool		(*verify) (HttpCall *call);
	bool		follows;		/* an empty page waits for events, see follow.c */
} HttpRoute;

/* A header that every reply carries; a list of them ends with a NULL name. */
typedef struct HttpHeader
{
	const char *name;
	const char *value;
} HttpHeader;

typedef struct HttpOptions
{
	struct event_base *base;
	const char *address;
	int			port;
	Pool	   *pool;
	const HttpRoute *routes;
	const HttpRoute *builtin;	/* health, metrics, openapi */
	size_t		max_body;
	long		timeout_ms;
	const char *gateway_secret;
	struct Follower *follower;	/* for routes that follow */
	const HttpHeader *headers;	/* may be NULL */
} HttpOptions;

typedef struct HttpServer HttpServer;

struct HttpCall
{
	HttpServer *server;
	struct evhttp_request *request; /* NULL once the client has gone */
	const HttpRoute *route;
	Context		context;
	Identity	identity;
	uint64_t	started_ns;
	uint64_t	sent_ns;		/* to the database */
	char	   *body;
	size_t		body_length;
	char	   *verified;
	char	   *arguments[HTTP_MAX_ARGUMENTS];
	int			narguments;
	char	   *once_key;		/* of a request with Idempotency-Key, else NULL */
	char	   *once_arguments; /* all of them as JSON */
	char		once_body[12];	/* which of them is the body */
	const char *once_parameters[4];
	uint64_t	wait_until;		/* of a route that follows */
	const char *context_parameters[4];
	char		traceparent[56];
	PgStep		steps[2];
	int			nsteps;
	int			races;
};

HttpServer *http_start(const HttpOptions *options);
void		http_drain(HttpServer *server);
int			http_pending(const HttpServer *server);
void		http_stop(HttpServer *server);

/* Replies; each ends the call. */
void		http_reply(HttpCall *call, int status, const char *type, const char *body,
					   size_t length);
void		http_reply_json(HttpCall *call, int status, const char *body);
void		http_problem(HttpCall *call, int status, const char *detail, const char *errors);
struct evhttp_request *http_detach(HttpCall *call, const char *type);
const char *http_header(const HttpCall *call, const char *name);
const char *http_parameter(const HttpCall *call, const char *name);

#endif
