/*
 * busconsume.c
 *		A tiny consumer of the message bus: hands each message of an endpoint to
 *		the SQL function that the command line names for its type.
 *
 *		busconsume --endpoint=cards --handlers=ChargeCard=shop.charge_card
 *
 * SIGTERM and SIGINT finish the batch in hand and exit 0.
 */
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "lib/config.h"
#include "lib/consumer.h"
#include "lib/log.h"
#include "lib/metrics.h"
#include "lib/text.h"

#define MAX_HANDLERS 32
#define DRAIN_STEP_MS 10

static struct
{
	char	   *conninfo;
	char	   *endpoint;
	char	   *handlers;
	long		batch;
	long		poll;
	long		timeout;
} settings;

static Option options[] = {
	{"database", OPTION_STRING, &settings.conninfo, "", 0, 0, NULL, false, true,
	"libpq connection string; what it leaves out comes from PG* variables"},
	{"endpoint", OPTION_STRING, &settings.endpoint, "", 0, 0, NULL, false, false,
	"endpoint to consume"},
	{"handlers", OPTION_STRING, &settings.handlers, "", 0, 0, NULL, false, false,
	"Type=schema.function,... each function takes the body as jsonb"},
	{"batch", OPTION_INTEGER, &settings.batch, "50", 1, 500, NULL, false, false,
	"most messages in one transaction"},
	{"poll-interval", OPTION_DURATION, &settings.poll, "1s", 10, 60000, NULL, false, false,
	"look this often even if nobody notifies"},
	{"message-timeout", OPTION_DURATION, &settings.timeout, "30s", 100, 600000, NULL, false, false,
	"longest time for one message"},
	{NULL}
};

static struct
{
	MessageHandler handlers[MAX_HANDLERS + 1];
	char	   *text;
	struct event_base *base;
	struct event *drain;
	Consumer   *consumer;
} program;

/* Splits "Type=function,..." into the table; false if it is not of that form. */
static bool
parse_handlers(void)
{
	int			n = 0;

	program.text = memory_string(settings.handlers);
	for (char *item = strtok(program.text, ","); item; item = strtok(NULL, ","))
	{
		char	   *equals = strchr(item, '=');

		if (equals == NULL || n >= MAX_HANDLERS)
			return false;
		*equals = '\0';
		program.handlers[n++] = (MessageHandler) {item, equals + 1};
	}
	return n > 0;
}

static void
on_drain(evutil_socket_t socket, short what, void *argument)
{
	struct timeval wait = {0, DRAIN_STEP_MS * 1000};

	(void) socket;
	(void) what;
	(void) argument;
	if (consumer_drained(program.consumer))
		event_base_loopbreak(program.base);
	else
		evtimer_add(program.drain, &wait);
}

static void
on_stop(evutil_socket_t signal, short what, void *argument)
{
	(void) signal;
	(void) what;
	(void) argument;
	consumer_drain(program.consumer);
	on_drain(-1, 0, NULL);
}

static void
run(void)
{
	struct event *stops[2];

	program.base = event_base_new();
	stops[0] = evsignal_new(program.base, SIGTERM, on_stop, NULL);
	stops[1] = evsignal_new(program.base, SIGINT, on_stop, NULL);
	program.drain = evtimer_new(program.base, on_drain, NULL);
	program.consumer = consumer_open(&(ConsumerOptions) {
		.base = program.base, .conninfo = settings.conninfo, .application = "busconsume",
		.source = "busconsume", .endpoint = settings.endpoint, .handlers = program.handlers,
		.batch = settings.batch, .poll_ms = settings.poll, .timeout_ms = settings.timeout
	});
	for (int i = 0; i < 2; i++)
		event_add(stops[i], NULL);
	event_base_dispatch(program.base);
	consumer_close(program.consumer);
	for (int i = 0; i < 2; i++)
		event_free(stops[i]);
	event_free(program.drain);
	event_base_free(program.base);
	libevent_global_shutdown();
	metrics_clear();
}

int
main(int argc, char **argv)
{
	const OptionGroup groups[] = {{"Consumer", options}};
	int			code = EXIT_SUCCESS;

	switch (config_load("busconsume", ECOMMERCE_VERSION, groups, 1, argc, argv))
	{
		case CONFIG_INVALID:
			code = EX_USAGE;
			break;
		case CONFIG_DONE:
			break;
		case CONFIG_RUN:
			if (settings.endpoint[0] == '\0' || !parse_handlers())
			{
				fputs("busconsume: --endpoint and --handlers are needed, see --help\n", stderr);
				code = EX_USAGE;
			}
			else if (log_open("busconsume", "Information", NULL))
				run();
			break;
	}
	free(program.text);
	config_free();
	return code;
}
