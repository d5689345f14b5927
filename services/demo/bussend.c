/*
 * bussend.c
 *		Sends or publishes one message, and prints its id.
 *
 *		bussend --endpoint=cards --type=ChargeCard --body='{"amount": 5}'
 *		bussend --type=CardCharged --body='{}'            publishes
 *		bussend --redrive=ID [--body=...]                 from the dead letters
 */
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "lib/api.h"
#include "lib/config.h"
#include "lib/log.h"
#include "lib/session.h"

#define DEADLINE_MS 30000

static struct
{
	char	   *conninfo;
	char	   *endpoint;
	char	   *type;
	char	   *body;
	char	   *partition_key;
	char	   *deliver_at;
	char	   *redrive;
} settings;

static Option options[] = {
	{"database", OPTION_STRING, &settings.conninfo, "", 0, 0, NULL, false, true,
	"libpq connection string; what it leaves out comes from PG* variables"},
	{"endpoint", OPTION_STRING, &settings.endpoint, "", 0, 0, NULL, false, false,
	"endpoint to send to; without it the message is published"},
	{"type", OPTION_STRING, &settings.type, "", 0, 0, NULL, false, false, "message type"},
	{"body", OPTION_STRING, &settings.body, "", 0, 0, NULL, false, false, "JSON object"},
	{"partition-key", OPTION_STRING, &settings.partition_key, "", 0, 0, NULL, false, false,
	"messages with the same key are delivered in order"},
	{"deliver-at", OPTION_STRING, &settings.deliver_at, "", 0, 0, NULL, false, false,
	"time before which it is not delivered"},
	{"redrive", OPTION_STRING, &settings.redrive, "", 0, 0, NULL, false, false,
	"id of a dead letter to deliver again, with --body if that is given"},
	{NULL}
};

static struct
{
	struct event_base *base;
	Session    *session;
	const char *parameters[5];
	PgStep		step;
	int			code;
} program;

/* Empty options are nulls to the server. */
static const char *
or_null(const char *value)
{
	return value[0] ? value : NULL;
}

static void
on_sent(void *argument, const PgResults *results)
{
	(void) argument;
	if (pg_succeeded(results) && settings.redrive[0] &&
		strcmp(pg_value(results, 0, 0, 0), "0") == 0)
	{
		fprintf(stderr, "bussend: there is no dead letter %s\n", settings.redrive);
		program.code = EX_DATAERR;
	}
	else if (pg_succeeded(results))
		puts(pg_value(results, 0, 0, 0));
	else
	{
		fprintf(stderr, "bussend: %s (%s)\n", pg_message(results), pg_sqlstate(results));
		program.code = EX_DATAERR;
	}
	event_base_loopbreak(program.base);
}

static void
on_ready(void *argument)
{
	(void) argument;
	session_run(program.session, &program.step, 1, DEADLINE_MS, on_sent, NULL);
}

static void
choose_statement(void)
{
	const char **p = program.parameters;
	int			n = 0;

	program.step.parameters = program.parameters;
	if (settings.redrive[0])
	{
		program.step.statement = &api_redrive;
		p[n++] = settings.redrive;
		p[n++] = or_null(settings.body);
		return;
	}
	program.step.statement = settings.endpoint[0] ? &api_send : &api_publish;
	if (settings.endpoint[0])
		p[n++] = settings.endpoint;
	p[n++] = settings.type;
	p[n++] = settings.body[0] ? settings.body : "{}";
	p[n++] = or_null(settings.partition_key);
	p[n++] = or_null(settings.deliver_at);
}

int
main(int argc, char **argv)
{
	static const char *const parameters[] = {"30000", "30000", "bussend"};
	static const PgStep setup = {&api_session, parameters};
	static const PgStep transaction = {&api_transaction, parameters};
	const OptionGroup groups[] = {{"Producer", options}};

	switch (config_load("bussend", ECOMMERCE_VERSION, groups, 1, argc, argv))
	{
		case CONFIG_INVALID:
			config_free();
			return EX_USAGE;
		case CONFIG_DONE:
			config_free();
			return EXIT_SUCCESS;
		case CONFIG_RUN:
			break;
	}
	if (settings.type[0] == '\0' && settings.redrive[0] == '\0')
	{
		fputs("bussend: --type or --redrive is needed, see --help\n", stderr);
		config_free();
		return EX_USAGE;
	}
	log_open("bussend", "Error", NULL);
	choose_statement();
	program.base = event_base_new();
	program.session = session_open(&(SessionOptions) {
		.base = program.base, .conninfo = settings.conninfo, .application = "bussend",
		.setup = &setup, .nsetup = 1, .transaction = &transaction, .ntransaction = 1,
		.ready = on_ready
	});
	event_base_dispatch(program.base);
	session_close(program.session);
	event_base_free(program.base);
	libevent_global_shutdown();
	config_free();
	return program.code;
}
