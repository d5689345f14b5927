/*
 * main.c
 *		accessd: tells the gateway whose an API key is.
 *
 * The gateway asks before it passes a request on (nginx auth_request).  A key
 * is hashed here and goes no further: the database, and so its log, sees the
 * hash alone.  Nothing is kept between requests, so a key that is revoked or has
 * expired opens nothing from then on.
 */
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "lib/api.h"
#include "lib/service.h"
#include "lib/text.h"

#define ANSWER_DEADLINE_MS 2000
#define HASH_LENGTH 32			/* SHA-256 */

extern const char openapi_document[];

static Pool *pool;

static void authenticate(HttpCall *call);
static bool hash_bearer(const char *header, char hex[2 * HASH_LENGTH + 3]);
static void on_known(void *argument, const PgResults *results);
static void tell(HttpCall *call, const char *header, const char *value);

static const HttpRoute routes[] = {
	{"GET", "/authenticate", NULL, NULL, ACCESS_GATEWAY, authenticate},
	{NULL}
};

/* 204 and whose key it is in headers; 401 without a key or with one that is not good. */
static void
authenticate(HttpCall *call)
{
	char		hex[2 * HASH_LENGTH + 3];

	if (!hash_bearer(http_header(call, "Authorization"), hex))
	{
		http_problem(call, 401, "this takes an API key: Authorization: Bearer KEY", NULL);
		return;
	}
	call->arguments[call->narguments++] = memory_string(hex);
	call->steps[0] = (PgStep) {&api_authenticate, (const char *const *) call->arguments};
	if (!pool_run(pool, call->steps, 1, ANSWER_DEADLINE_MS, on_known, call))
		http_problem(call, 503, "too many requests are waiting", NULL);
}

/* The SHA-256 of the key in "Bearer KEY", as PostgreSQL reads bytes. */
static bool
hash_bearer(const char *header, char hex[2 * HASH_LENGTH + 3])
{
	static const char scheme[] = "Bearer ";
	unsigned char hash[HASH_LENGTH];
	const char *key;

	if (header == NULL || strncasecmp(header, scheme, sizeof(scheme) - 1) != 0)
		return false;
	key = header + sizeof(scheme) - 1;
	key += strspn(key, " ");
	if (*key == '\0' || !EVP_Digest(key, strlen(key), hash, NULL, EVP_sha256(), NULL))
		return false;
	strcpy(hex, "\\x");
	for (int i = 0; i < HASH_LENGTH; i++)
		snprintf(hex + 2 + 2 * i, 3, "%02x", hash[i]);
	return true;
}

static void
on_known(void *argument, const PgResults *results)
{
	HttpCall   *call = argument;

	if (results == NULL || !pg_succeeded(results))
	{
		http_problem(call, 503, "whose key it is cannot be found out now", NULL);
		return;
	}
	if (pg_rows(results, 0) != 1)
	{
		http_problem(call, 401, "the API key is unknown, has expired or was revoked", NULL);
		return;
	}
	tell(call, "X-User-Id", pg_value(results, 0, 0, AUTHENTICATE_USER_ID));
	tell(call, "X-Scope", pg_value(results, 0, 0, AUTHENTICATE_SCOPE));
	tell(call, "X-Customer-Id", pg_value(results, 0, 0, AUTHENTICATE_CUSTOMER_ID));
	tell(call, "X-Tenant-Id", pg_value(results, 0, 0, AUTHENTICATE_TENANT_ID));
	http_reply(call, 204, NULL, "", 0);
}

static void
tell(HttpCall *call, const char *header, const char *value)
{
	if (call->request && value)
		evhttp_add_header(evhttp_request_get_output_headers(call->request), header, value);
}

static bool
start(Runtime *runtime)
{
	pool = runtime->pool;
	return true;
}

int
main(int argc, char **argv)
{
	static const Service service = {
		.program = "accessd", .source = "AccessService", .role = "ecommerce_access",
		.port = "5007", .routes = routes, .start = start, .openapi = openapi_document
	};

	return service_main(&service, argc, argv);
}
