/*
 * inward.c
 *		What a queue of a broker has is accepted by a bridge.
 *
 * A batch is in hand until it is committed; only then is the broker told.  If the
 * database is away the batch waits, and the broker with it; what was committed without
 * our knowing is recognised by the database.
 */
#include "bridge/inward.h"

#include <stdlib.h>
#include <string.h>

#include "bridge/receiver.h"
#include "bridge/statements.h"
#include "lib/context.h"
#include "lib/log.h"
#include "lib/metrics.h"
#include "lib/resilience.h"
#include "lib/session.h"

#define DEADLINE_MS 60000
#define RETRY_MIN_MS 20
#define RETRY_MAX_MS 5000
/* The database is told this often that the broker is there. */
#define HEARTBEAT_S 60

struct Inward
{
	BridgeSettings settings;
	Session    *session;
	Receiver   *receiver;
	struct event *timer;
	struct event *heart;
	ReceivedBatch batch;
	bool		has_batch;
	bool		accepting;
	bool		draining;
	int			attempt;		/* in a row that the database has refused */
	char		refused[6];		/* its SQLSTATE, "" if all is well */
	char		trouble[600];	/* with the broker, "" if all is well */
};

static void on_ready(void *argument);
static void on_lost(void *argument);
static void on_received(void *argument);
static void on_state(void *argument, const char *trouble);
static void on_timer(evutil_socket_t socket, short what, void *argument);
static void on_heart(evutil_socket_t socket, short what, void *argument);
static void on_heard(void *argument, const PgResults *results);
static void go_on(Inward *inward);
static void on_accepted(void *argument, const PgResults *results);
static void count(const Inward *inward, const PgResults *results);
static void retry(Inward *inward, const PgResults *results);

Inward *
inward_open(const BridgeSettings *settings, const char *topology)
{
	Inward	   *inward = memory_zero(1, sizeof(*inward));
	SessionOptions session = {.base = settings->base, .conninfo = settings->conninfo,
		.application = "bridged", .setup = settings->setup, .nsetup = 1, .ready = on_ready,
		.lost = on_lost, .argument = inward};
	ReceiverOptions receiver = {settings->base, settings->brokers, settings->broker, topology,
	(int) settings->batch, on_received, on_state, inward};

	inward->settings = *settings;
	copy_string(inward->trouble, sizeof(inward->trouble), "connecting");
	inward->timer = evtimer_new(settings->base, on_timer, inward);
	inward->heart = event_new(settings->base, -1, EV_PERSIST, on_heart, inward);
	event_add(inward->heart, &(struct timeval) {HEARTBEAT_S, 0});
	inward->session = session_open(&session);
	inward->receiver = receiver_open(&receiver);
	return inward;
}

/* "ok", or what keeps it from bringing anything. */
const char *
inward_state(const Inward *inward)
{
	if (inward->trouble[0])
		return inward->trouble;
	return inward->refused[0] ? inward->refused : "ok";
}

/* Takes nothing more; whether what was in hand is settled. */
bool
inward_drained(Inward *inward)
{
	inward->draining = true;
	return !inward->accepting;
}

void
inward_close(Inward *inward)
{
	if (inward == NULL)
		return;
	receiver_close(inward->receiver);
	session_close(inward->session);
	event_free(inward->timer);
	event_free(inward->heart);
	text_free(&inward->batch.envelopes);
	free(inward);
}

static void
on_ready(void *argument)
{
	on_heart(-1, 0, argument);
	go_on(argument);
}

static void
on_lost(void *argument)
{
	Inward	   *inward = argument;

	inward->accepting = false;
}

static void
on_received(void *argument)
{
	go_on(argument);
}

/* The broker is there, or is not. */
static void
on_state(void *argument, const char *trouble)
{
	Inward	   *inward = argument;

	if (trouble && strcmp(trouble, inward->trouble) != 0)
		log_write(LEVEL_WARNING, NULL, "Bridge {Bridge}, broker {Broker}: {Error}", "Bridge",
				  inward->settings.name, "Broker", inward->settings.broker, "Error", trouble, NULL);
	else if (trouble == NULL)
		log_write(LEVEL_INFORMATION, NULL, "Bridge {Bridge} consumes from {Broker}", "Bridge",
				  inward->settings.name, "Broker", inward->settings.broker, NULL);
	copy_string(inward->trouble, sizeof(inward->trouble), trouble ? trouble : "");
	metrics_set(&metric_bridge_up, trouble ? 0 : 1, inward->settings.name, "in");
	on_heart(-1, 0, inward);
}

static void
on_timer(evutil_socket_t socket, short what, void *argument)
{
	(void) socket;
	(void) what;
	go_on(argument);
}

/*
 * Tells the database that somebody consumes the queue.  While a batch is being accepted it
 * sees that by itself.
 */
static void
on_heart(evutil_socket_t socket, short what, void *argument)
{
	Inward	   *inward = argument;
	const char *parameters[] = {inward->settings.name};
	PgStep		step = {&sql_hear, parameters};

	(void) socket;
	(void) what;
	if (inward->trouble[0] == '\0' && !inward->accepting && !inward->draining &&
		session_ready(inward->session))
		(void) session_run(inward->session, &step, 1, DEADLINE_MS, on_heard, inward);
}

static void
on_heard(void *argument, const PgResults *results)
{
	if (!pg_lost(results))
		go_on(argument);
}

/* Gives the batch in hand, or the next one, to the database. */
static void
go_on(Inward *inward)
{
	const char *parameters[2] = {inward->settings.name};
	PgStep		step = {&sql_accept, parameters};

	if (inward->accepting || !session_ready(inward->session) ||
		evtimer_pending(inward->timer, NULL))
		return;
	if (!inward->has_batch && (inward->draining ||
							   !receiver_take(inward->receiver, &inward->batch)))
		return;
	inward->has_batch = true;
	parameters[1] = inward->batch.envelopes.data;
	inward->accepting = session_run(inward->session, &step, 1, DEADLINE_MS, on_accepted, inward);
}

static void
on_accepted(void *argument, const PgResults *results)
{
	Inward	   *inward = argument;

	inward->accepting = false;
	if (pg_lost(results))
		return;
	if (!pg_succeeded(results))
	{
		retry(inward, results);
		return;
	}
	count(inward, results);
	inward->attempt = 0;
	inward->refused[0] = '\0';
	receiver_settled(inward->receiver, &inward->batch);
	text_free(&inward->batch.envelopes);
	inward->has_batch = false;
	go_on(inward);
}

static void
count(const Inward *inward, const PgResults *results)
{
	static const char *const outcomes[] = {"accepted", "repeated", "refused"};

	for (int i = ACCEPT_ACCEPTED; i <= ACCEPT_REFUSED; i++)
	{
		int			amount = atoi(pg_value(results, 0, 0, i));

		if (amount > 0)
			metrics_count(&metric_bridge_messages, amount, inward->settings.name, outcomes[i]);
	}
}

/* The database does not take it now: again, a little later each time. */
static void
retry(Inward *inward, const PgResults *results)
{
	long		delay = backoff_delay(inward->attempt, RETRY_MIN_MS, RETRY_MAX_MS,
									  random_fraction());
	struct timeval wait = {delay / 1000, delay % 1000 * 1000};

	/* Not a thousand times the same. */
	if ((inward->attempt & (inward->attempt + 1)) == 0)
		log_write(LEVEL_WARNING, NULL, "Bridge {Bridge}, database: {SqlState} {Error}", "Bridge",
				  inward->settings.name, "SqlState", pg_sqlstate(results), "Error",
				  pg_message(results), NULL);
	inward->attempt++;
	copy_string(inward->refused, sizeof(inward->refused), pg_sqlstate(results));
	evtimer_add(inward->timer, &wait);
}
