/*
 * once.c
 *		Requests with an Idempotency-Key are done once, whatever their route.
 *
 * The route's function is then called by the function once() of the service's
 * schema (once.sql), which keeps the first answer; it takes the arguments as JSON.
 */
#include "lib/once.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int	body_position(const char *arguments);

/* Whether requests of the route change something. */
bool
once_applies(const HttpRoute *route)
{
	return strcmp(route->method, "GET") != 0;
}

/* After the arguments were gathered: sets once_arguments if the request has a key. */
void
once_prepare(HttpCall *call)
{
	const char *key = http_header(call, "Idempotency-Key");
	int			body = body_position(call->route->arguments);
	Text		arguments = {0};

	if (key == NULL || !once_applies(call->route))
		return;
	text_add(&arguments, "[");
	for (int i = 0; i < call->narguments; i++)
	{
		text_add(&arguments, i > 0 ? "," : "");
		text_json(&arguments, call->arguments[i]);
	}
	text_add(&arguments, "]");
	snprintf(call->once_body, sizeof(call->once_body), "%d", body);
	call->once_key = memory_string(key);
	call->once_arguments = text_take(&arguments);
	call->once_parameters[0] = call->once_key;
	call->once_parameters[1] = call->route->function;
	call->once_parameters[2] = call->once_arguments;
	call->once_parameters[3] = body >= 0 && call->body_length > 0 ? call->once_body : NULL;
}

void
once_free(HttpCall *call)
{
	free(call->once_key);
	free(call->once_arguments);
}

/* Which of the arguments is the body, from 0; -1 is none. */
static int
body_position(const char *arguments)
{
	int			position = 0;

	for (const char *at = arguments; *(at += strspn(at, " ")); at += strcspn(at, " "))
	{
		if (strncmp(at, "body", 4) == 0 || strncmp(at, "?body", 5) == 0)
			return position;
		position++;
	}
	return -1;
}
