/*
 * outward.c
 *		What an endpoint forwards is brought to a broker.
 *
 * A round: read what is next, publish it, wait until the broker has confirmed all of it,
 * tell the database; again, until nothing is there.  Then a backend waits for the next
 * commit: nobody is notified of what an endpoint forwards.  What the broker has refused
 * becomes a dead letter in the transaction that lets it go.
 *
 * One process at a time does this for a bridge: its session holds a lock, and is ended by
 * the server if it is silent for long, so that one who stands still is replaced, or, while
 * a backend waits, as soon as the server sees that he has gone.  Whoever loses the session
 * forgets what he has in hand; the next one sends it again.
 */
#include "bridge/outward.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/publisher.h"
#include "bridge/shipment.h"
#include "bridge/statements.h"
#include "lib/context.h"
#include "lib/log.h"
#include "lib/metrics.h"
#include "lib/resilience.h"
#include "lib/session.h"

#define DEADLINE_MS 60000
#define RETRY_MIN_MS 50
#define RETRY_MAX_MS 5000
/* So long a backend waits at once: within the time after which the server ends a silent session. */
#define IDLE_MS 20000
/* Whether the one who carries is still there; one that has gone may be so for a second. */
#define STANDBY_MIN_MS 200
#define STANDBY_MAX_MS 5000
/* Who has much to carry claims it this often nevertheless, and so is heard of. */
#define HEARTBEAT_MS 60000

typedef enum Phase
{
	PHASE_DOWN,					/* no session, or a batch that nobody wants is under way */
	PHASE_CLAIMING,
	PHASE_STANDBY,
	PHASE_READING,
	PHASE_PUBLISHING,
	PHASE_SETTLING,
	PHASE_WAITING,				/* for a commit, in the server */
	PHASE_RESTING
} Phase;

struct Outward
{
	BridgeSettings settings;
	char	   *endpoint;
	char		batch[24];
	PgStep		setup[2];
	Session    *session;
	Publisher  *publisher;
	bool		publishing;		/* the batch is the publisher's */
	Phase		phase;
	bool		draining;
	bool		calmed;			/* has rested since the last vain wait */
	int			vain;			/* in a row that a wait has ended, and nothing was to be read */
	int			standby;		/* in a row that it was somebody else's */
	Shipment	shipment;
	uint64_t	claimed;		/* when */
	int			attempt;		/* in a row without success */
	char		trouble[600];
	struct event *timer;
};

static void on_ready(void *argument);
static void on_lost(void *argument);
static void on_timer(evutil_socket_t socket, short what, void *argument);
static void claim(Outward *outward);
static void on_claimed(void *argument, const PgResults *results);
static void read_next(Outward *outward);
static void on_read(void *argument, const PgResults *results);
static void nothing_read(Outward *outward);
static void go_on(Outward *outward);
static void on_waited(void *argument, const PgResults *results);
static void publish(Outward *outward);
static void on_published(void *argument, const char *trouble);
static void settle(Outward *outward);
static void on_settled(void *argument, const PgResults *results);
static bool expected(Outward *outward, Phase phase, const PgResults *results);
static void rest(Outward *outward, Phase phase, long milliseconds);
static void retry(Outward *outward, const char *trouble);

Outward *
outward_open(const BridgeSettings *settings, const char *endpoint)
{
	Outward    *outward = memory_zero(1, sizeof(*outward));
	SessionOptions session = {.base = settings->base, .conninfo = settings->conninfo,
		.application = "bridged", .setup = outward->setup, .nsetup = 2, .ready = on_ready,
		.lost = on_lost, .argument = outward};
	PublisherOptions publisher = {settings->base, settings->brokers, settings->broker,
	on_published, outward};

	outward->settings = *settings;
	outward->endpoint = memory_string(endpoint);
	snprintf(outward->batch, sizeof(outward->batch), "%ld", settings->batch);
	outward->setup[0] = *settings->setup;
	outward->setup[1] = (PgStep) {&sql_lazily, NULL};
	outward->timer = evtimer_new(settings->base, on_timer, outward);
	outward->publisher = publisher_open(&publisher);
	outward->session = session_open(&session);
	return outward;
}

/* "ok", or what keeps it from sending. */
const char *
outward_state(const Outward *outward)
{
	if (outward->trouble[0])
		return outward->trouble;
	return outward->phase == PHASE_DOWN ? "database unreachable" : "ok";
}

/* Reads nothing more; whether what was in hand is settled. */
bool
outward_drained(Outward *outward)
{
	outward->draining = true;
	return (outward->phase != PHASE_PUBLISHING && outward->phase != PHASE_SETTLING) ||
		outward->trouble[0];
}

void
outward_close(Outward *outward)
{
	if (outward == NULL)
		return;
	publisher_close(outward->publisher);
	session_close(outward->session);
	event_free(outward->timer);
	shipment_clear(&outward->shipment);
	free(outward->endpoint);
	free(outward);
}

static void
on_ready(void *argument)
{
	Outward    *outward = argument;

	if (outward->phase == PHASE_DOWN && !outward->publishing)
		claim(outward);
}

static void
on_lost(void *argument)
{
	Outward    *outward = argument;

	evtimer_del(outward->timer);
	outward->phase = PHASE_DOWN;
	if (!outward->publishing)
		shipment_clear(&outward->shipment);
}

static void
on_timer(evutil_socket_t socket, short what, void *argument)
{
	Outward    *outward = argument;

	(void) socket;
	(void) what;
	/* Something is there that may not leave: that is no trouble of ours. */
	if (outward->phase == PHASE_RESTING && outward->calmed && outward->attempt == 0)
		go_on(outward);
	else if (outward->phase == PHASE_RESTING || outward->phase == PHASE_STANDBY)
		claim(outward);
}

/*
 * Whether the results are of what is going on; when they are not, or the connection is
 * lost, everything begins anew.
 */
static bool
expected(Outward *outward, Phase phase, const PgResults *results)
{
	return !pg_lost(results) && outward->phase == phase;
}

/* Makes sure that nobody else does the same. */
static void
claim(Outward *outward)
{
	const char *parameters[] = {outward->settings.name};
	PgStep		step = {&sql_claim, parameters};

	outward->phase = PHASE_CLAIMING;
	outward->claimed = clock_steady_ms();
	if (!session_run(outward->session, &step, 1, DEADLINE_MS, on_claimed, outward))
		rest(outward, PHASE_STANDBY, STANDBY_MAX_MS);
}

static void
on_claimed(void *argument, const PgResults *results)
{
	Outward    *outward = argument;

	if (!expected(outward, PHASE_CLAIMING, results))
		return;
	if (!pg_succeeded(results))
	{
		retry(outward, pg_message(results));
		return;
	}
	if (strcmp(pg_value(results, 0, 0, 0), "t") != 0)
	{
		rest(outward, PHASE_STANDBY,
			 backoff_delay(outward->standby++, STANDBY_MIN_MS, STANDBY_MAX_MS, random_fraction()));
		return;
	}
	outward->standby = 0;
	if (outward->shipment.count > 0)
		publish(outward);
	else
		read_next(outward);
}

static void
read_next(Outward *outward)
{
	const char *parameters[] = {outward->settings.name, outward->batch};
	PgStep		step = {&sql_read, parameters};

	evtimer_del(outward->timer);
	if (outward->draining)
		rest(outward, PHASE_RESTING, IDLE_MS);
	else
	{
		outward->phase = PHASE_READING;
		if (!session_run(outward->session, &step, 1, DEADLINE_MS, on_read, outward))
			rest(outward, PHASE_RESTING, RETRY_MIN_MS);
	}
}

static void
on_read(void *argument, const PgResults *results)
{
	Outward    *outward = argument;

	if (!expected(outward, PHASE_READING, results))
		return;
	if (!pg_succeeded(results))
		retry(outward, pg_message(results));
	else if (pg_rows(results, 0) == 0)
		nothing_read(outward);
	else
	{
		outward->vain = 0;
		shipment_load(&outward->shipment, results);
		publish(outward);
	}
}

/*
 * Waits for a commit.  If one after the other ends the wait and nothing may leave, as
 * while a standby is away, there is a pause in between.
 */
static void
nothing_read(Outward *outward)
{
	char		wait[24];
	const char *parameters[] = {outward->endpoint, wait};
	PgStep		step = {&sql_wait, parameters};

	outward->attempt = 0;
	outward->trouble[0] = '\0';
	if (outward->vain > 1 && !outward->calmed)
	{
		outward->calmed = true;
		rest(outward, PHASE_RESTING,
			 backoff_delay(outward->vain, RETRY_MIN_MS, RETRY_MAX_MS, random_fraction()));
		return;
	}
	outward->calmed = false;
	snprintf(wait, sizeof(wait), "%d ms", IDLE_MS);
	outward->phase = PHASE_WAITING;
	if (!session_run(outward->session, &step, 1, DEADLINE_MS, on_waited, outward))
		rest(outward, PHASE_RESTING, RETRY_MIN_MS);
}

/* Who has waited in vain claims the bridge again, and so is heard of. */
static void
on_waited(void *argument, const PgResults *results)
{
	Outward    *outward = argument;
	bool		any;

	if (!expected(outward, PHASE_WAITING, results))
		return;
	if (!pg_succeeded(results))
	{
		retry(outward, pg_message(results));
		return;
	}
	any = strcmp(pg_value(results, 0, 0, 0), "t") == 0;
	outward->vain = any ? outward->vain + 1 : 0;
	if (any)
		read_next(outward);
	else
		claim(outward);
}

static void
publish(Outward *outward)
{
	outward->phase = PHASE_PUBLISHING;
	outward->publishing = true;
	publisher_publish(outward->publisher, outward->shipment.items, outward->shipment.count);
}

static void
on_published(void *argument, const char *trouble)
{
	Outward    *outward = argument;

	outward->publishing = false;
	metrics_set(&metric_bridge_up, trouble ? 0 : 1, outward->settings.name, "out");
	if (outward->phase != PHASE_PUBLISHING)
	{
		/* The session was lost meanwhile: perhaps it is somebody else's by now. */
		shipment_clear(&outward->shipment);
		if (session_ready(outward->session))
			claim(outward);
	}
	else if (trouble)
		retry(outward, trouble);
	else
		settle(outward);
}

/* Tells the database what has arrived, and what never will. */
static void
settle(Outward *outward)
{
	Shipment   *shipment = &outward->shipment;
	const char *parameters[6] = {outward->endpoint};
	PgStep		step = {&sql_settle, parameters};

	shipment_settle(shipment, outward->settings.drop_unroutable);
	for (int i = 0; i < 3; i++)
		parameters[i + 1] = shipment->refused[i].data;
	for (int i = 0; i < 2; i++)
		parameters[i + 4] = shipment->arrived[i].data;
	outward->phase = PHASE_SETTLING;
	if (!session_run(outward->session, &step, 1, DEADLINE_MS, on_settled, outward))
		retry(outward, "database unreachable");
}

static void
on_settled(void *argument, const PgResults *results)
{
	Outward    *outward = argument;
	int			refused = outward->shipment.nrefused;
	int			sent = outward->shipment.count - refused;

	if (!expected(outward, PHASE_SETTLING, results))
		return;
	if (!pg_succeeded(results))
	{
		retry(outward, pg_message(results));
		return;
	}
	if (sent > 0)
		metrics_count(&metric_bridge_messages, sent, outward->settings.name, "sent");
	if (refused > 0)
		metrics_count(&metric_bridge_messages, refused, outward->settings.name, "unroutable");
	outward->attempt = 0;
	outward->trouble[0] = '\0';
	shipment_clear(&outward->shipment);
	go_on(outward);
}

static void
go_on(Outward *outward)
{
	if (clock_steady_ms() - outward->claimed >= HEARTBEAT_MS)
		claim(outward);
	else
		read_next(outward);
}

/* Nothing to do for so long. */
static void
rest(Outward *outward, Phase phase, long milliseconds)
{
	struct timeval wait = {milliseconds / 1000, milliseconds % 1000 * 1000};

	outward->phase = phase;
	evtimer_add(outward->timer, &wait);
}

/* It went wrong: again, a little later each time, with what is not settled yet. */
static void
retry(Outward *outward, const char *trouble)
{
	long		delay;

	if (strcmp(trouble, outward->trouble) != 0)
		log_write(LEVEL_WARNING, NULL, "Bridge {Bridge}, broker {Broker}: {Error}", "Bridge",
				  outward->settings.name, "Broker", outward->settings.broker, "Error", trouble,
				  NULL);
	copy_string(outward->trouble, sizeof(outward->trouble), trouble);
	delay = backoff_delay(outward->attempt++, RETRY_MIN_MS, RETRY_MAX_MS, random_fraction());
	rest(outward, PHASE_RESTING, delay);
}
