/*
 * http.c
 *		Fuzz target of what the daemons parse from outside: a whole connection's
 *		bytes go to the HTTP server, and each function that reads a text of somebody
 *		else's gets the body of the last request.
 *
 * The database is a function that reads all its arguments and answers that there
 * was no connection; everything else is the daemons' own, with sanitizers.
 */
#include "fuzz/daemon.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/http.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/context.h"
#include "lib/http.h"
#include "lib/log.h"
#include "lib/pool.h"
#include "lib/text.h"
#include "notification/mail.h"
#include "payment/webhook.h"

#define MAX_BODY 2048
#define TURNS 200

static const HttpRoute routes[] = {
	{"POST", "/orders", "f", "body caller", ACCESS_PUBLIC | ACCESS_OWN},
	{"GET", "/orders", "f", "query:after query:limit query:customer_id", ACCESS_PUBLIC},
	{"GET", "/orders/:id", "f", "path:id header:If-None-Match caller", ACCESS_PUBLIC | ACCESS_OWN},
	{"POST", "/orders/:id/cancel", "f", "path:id ?body", ACCESS_PUBLIC},
	{"PUT", "/products/:id", "f", "path:id body header:If-Match", ACCESS_PUBLIC},
	{NULL}
};

static struct event_base *base;
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static socklen_t address_length;

bool		__wrap_pool_run(Pool *pool, const PgStep *steps, int nsteps, long deadline_ms,
							PgDone done, void *argument);
struct evhttp_bound_socket *__wrap_evhttp_bind_socket_with_handle(struct evhttp *http,
																  const char *host,
																  ev_uint16_t port);

/* In place of the pool's, which the linker then leaves out. */
bool
__wrap_pool_run(Pool *pool, const PgStep *steps, int nsteps, long deadline_ms, PgDone done,
				void *argument)
{
	const HttpCall *call = argument;
	size_t		sum = 0;

	(void) pool;
	(void) steps;
	(void) deadline_ms;
	for (int i = 0; i < call->narguments; i++)
		sum += call->arguments[i] ? strlen(call->arguments[i]) : 0;
	if ((sum + (size_t) nsteps) % 5 == 0)
		return false;
	done(argument, NULL);
	return true;
}

/* Listens on a socket without a name in the file system instead. */
struct evhttp_bound_socket *
__wrap_evhttp_bind_socket_with_handle(struct evhttp *http, const char *host, ev_uint16_t port)
{
	int			fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	(void) host;
	(void) port;
	address_length = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + 1 +
								  (size_t) snprintf(address.sun_path + 1,
													sizeof(address.sun_path) - 1,
													"fuzz-%d", (int) getpid()));
	if (fd < 0 || bind(fd, (struct sockaddr *) &address, address_length) != 0 ||
		listen(fd, 16) != 0)
		abort();
	return evhttp_accept_socket_with_handle(http, fd);
}

void
fuzz_http_start(void)
{
	HttpOptions options = {.routes = routes, .max_body = MAX_BODY, .gateway_secret = "s",
						   .timeout_ms = 60000};

	(void) log_open("fuzz", "Fatal", "/dev/null");
	base = event_base_new();
	options.base = base;
	if (http_start(&options) == NULL)
		abort();
}

/* Texts of somebody else's that are no requests. */
static void
read_text(const char *text, size_t length)
{
	Context		context;
	Text		target = {0};
	Mail		mail = {.from = "shop@example.com", .to = text, .subject = text, .html = text,
						.message_id = "1@example.com"};

	(void) webhook_signature_valid(text, text, length, "whsec", 1700000000);
	context_start(&context, text, text);
	(void) uuid_valid(text);
	if (mail_address_valid(text))
		mail_write(&target, &mail);
	text_free(&target);
}

void
fuzz_http(const char *data, size_t size)
{
	int			fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	char		buffer[4096];
	char	   *text = memory_string_n(data, size);
	char	   *body = strstr(text, "\r\n\r\n");
	size_t		sent = 0;

	read_text(body ? body + 4 : text, strlen(body ? body + 4 : text));
	free(text);
	if (fd < 0 || connect(fd, (struct sockaddr *) &address, address_length) != 0)
		abort();
	for (int turn = 0; turn < TURNS; turn++)
	{
		ssize_t		n = sent < size ? send(fd, data + sent, size - sent, MSG_NOSIGNAL) : 0;

		sent += n > 0 ? (size_t) n : 0;
		if (sent == size)
			(void) shutdown(fd, SHUT_WR);
		event_base_loop(base, EVLOOP_NONBLOCK);
		n = recv(fd, buffer, sizeof(buffer), 0);
		if (n == 0 || (n < 0 && errno != EAGAIN))
			break;
	}
	close(fd);
	event_base_loop(base, EVLOOP_NONBLOCK);
	event_base_loop(base, EVLOOP_NONBLOCK);
}
