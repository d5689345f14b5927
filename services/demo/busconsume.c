/*
 * busconsume.c
 *		A tiny consumer of the message bus: hands each message of an endpoint to
 *		the SQL function that the command line names for its type.
 *
 *		busconsume --endpoint=cards --handlers=ChargeCard=shop.charge_card
 *
 * It is libecommerce's example and knows nothing else of this tree:
 *		cc busconsume.c -o busconsume $(pkg-config --cflags --libs libecommerce)
 *
 * SIGTERM and SIGINT finish the batch in hand and exit 0.
 */
#include <ecommerce.h>
#include <event2/event.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#define MAX_HANDLERS 32
#define DRAIN_STEP_MS 10

static const char usage[] =
	"busconsume - receive messages of an endpoint on the command line\n"
	"\n"
	"Usage: busconsume --endpoint=NAME --handlers=TYPE=FUNCTION,... [OPTION]...\n"
	"\n"
	"  --database=CONNINFO      libpq connection string; what it leaves out comes from PG*\n"
	"                           variables\n"
	"  --endpoint=NAME          endpoint to consume\n"
	"  --handlers=LIST          Type=schema.function,... each function takes the body as jsonb\n"
	"  --batch=N                most messages in one transaction, 1 to 500 (50)\n"
	"  --poll-interval=TIME     look this often even if nothing has woken it (1s)\n"
	"  --message-timeout=TIME   longest time for one message (30s)\n"
	"  --help, --version        print this, or the version, and exit\n"
	"\n"
	"TIME is a number with ms, s or min behind it.\n";

static const struct option options[] = {
	{"database", required_argument, NULL, 'd'},
	{"endpoint", required_argument, NULL, 'e'},
	{"handlers", required_argument, NULL, 'f'},
	{"batch", required_argument, NULL, 'b'},
	{"poll-interval", required_argument, NULL, 'p'},
	{"message-timeout", required_argument, NULL, 't'},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'v'},
	{NULL, 0, NULL, 0}
};

static struct
{
	EcommerceHandler handlers[MAX_HANDLERS + 1];
	struct event_base *base;
	struct event *drain;
	EcommerceConsumer *consumer;
} program;

/* Splits "Type=function,..." into the table; false if it is not of that form. */
static bool
parse_handlers(char *list)
{
	int			n = 0;

	for (char *item = strtok(list, ","); item; item = strtok(NULL, ","))
	{
		char	   *equals = strchr(item, '=');

		if (equals == NULL || n >= MAX_HANDLERS)
			return false;
		*equals = '\0';
		program.handlers[n++] = (EcommerceHandler) {item, equals + 1};
	}
	return n > 0;
}

/* A number between least and most, with ms, s or min behind it if it is a time; else -1. */
static long
parse_number(const char *text, bool time, long least, long most)
{
	char	   *unit;
	long		number = strtol(text, &unit, 10);

	if (unit == text || number < 0 || number > most)
		return -1;
	if (time && strcmp(unit, "s") == 0)
		number *= 1000;
	else if (time && strcmp(unit, "min") == 0)
		number *= 60000;
	else if (strcmp(unit, time ? "ms" : "") != 0)
		return -1;
	return number >= least && number <= most ? number : -1;
}

/* Fills the consumer's options and the table of handlers; false if something is wrong. */
static bool
parse_options(int argc, char **argv, EcommerceConsumerOptions *consumer)
{
	bool		good = true;
	int			c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (c)
		{
			case 'd':
				consumer->conninfo = optarg;
				break;
			case 'e':
				consumer->endpoint = optarg;
				break;
			case 'f':
				good &= parse_handlers(optarg);
				break;
			case 'b':
				good &= (consumer->batch = parse_number(optarg, false, 1, 500)) > 0;
				break;
			case 'p':
				good &= (consumer->poll_ms = parse_number(optarg, true, 10, 60000)) > 0;
				break;
			case 't':
				good &= (consumer->timeout_ms = parse_number(optarg, true, 100, 600000)) > 0;
				break;
			case 'h':
				fputs(usage, stdout);
				exit(EXIT_SUCCESS);
			case 'v':
				printf("busconsume (ecommerce) %s\n", ecommerce_version());
				exit(EXIT_SUCCESS);
			default:
				good = false;
		}
	return good && optind == argc && consumer->endpoint && program.handlers[0].message_type;
}

static void
on_drain(evutil_socket_t socket, short what, void *argument)
{
	struct timeval wait = {0, DRAIN_STEP_MS * 1000};

	(void) socket;
	(void) what;
	(void) argument;
	if (ecommerce_consumer_drained(program.consumer))
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
	ecommerce_consumer_drain(program.consumer);
	on_drain(-1, 0, NULL);
}

static void
run(const EcommerceConsumerOptions *consumer)
{
	struct event *stops[2];

	stops[0] = evsignal_new(program.base, SIGTERM, on_stop, NULL);
	stops[1] = evsignal_new(program.base, SIGINT, on_stop, NULL);
	program.drain = evtimer_new(program.base, on_drain, NULL);
	program.consumer = ecommerce_consumer_open(consumer);
	for (int i = 0; i < 2; i++)
		event_add(stops[i], NULL);
	event_base_dispatch(program.base);
	ecommerce_consumer_close(program.consumer);
	for (int i = 0; i < 2; i++)
		event_free(stops[i]);
	event_free(program.drain);
}

int
main(int argc, char **argv)
{
	EcommerceConsumerOptions consumer = {
		.size = sizeof(consumer), .conninfo = "", .application = "busconsume",
		.source = "busconsume", .handlers = program.handlers
	};

	if (!parse_options(argc, argv, &consumer))
	{
		fputs("busconsume: --endpoint and --handlers are needed, see --help\n", stderr);
		return EX_USAGE;
	}
	if (!ecommerce_log_open("busconsume", "Information", NULL))
		return EX_SOFTWARE;
	consumer.base = program.base = event_base_new();
	run(&consumer);
	event_base_free(program.base);
	libevent_global_shutdown();
	ecommerce_cleanup();
	return EXIT_SUCCESS;
}
