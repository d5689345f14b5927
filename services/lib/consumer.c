/*
 * consumer.c
 *		Consumes one endpoint of the message bus with a table of handlers.
 *
 * One transaction per batch: receive, then for each message a savepoint, the
 * handler and its release, then ack and COMMIT.  All of that goes to the server
 * in one piece; when a message fails, the rest of the piece was skipped, so it
 * is rolled back to its savepoint, marked failed, and the batch goes on behind
 * it.  What a handler writes, its replies and the ack commit together; a
 * consumer that dies at any point leaves nothing, and the messages are handed
 * out again.
 *
 * In between it waits in the server, whom the commit that sends a message wakes; that
 * spares both sides NOTIFY, and a look that finds nothing after each batch.  A backend
 * shared with others must not wait: there it looks at intervals.
 *
 * States: down > idle > waiting > receiving > handling > idle ...
 */
#include "lib/consumer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "lib/api.h"
#include "lib/log.h"
#include "lib/message.h"
#include "lib/resilience.h"
#include "lib/text.h"

#define RECEIVE_DEADLINE_MS 30000
#define RACES_MAX 3				/* lost races of one message in a row, then it is failed */
#define STEPS_PER_MESSAGE 4
/* How long a message waits whose handler is at fault. */
#define SNOOZE_MIN_MS 1000
#define SNOOZE_MAX_MS 60000

typedef enum ConsumerState
{
	CONSUMER_DOWN, CONSUMER_IDLE, CONSUMER_WAITING, CONSUMER_RECEIVING, CONSUMER_HANDLING
} ConsumerState;

/* What a step of the batch under way was for. */
typedef enum StepKind
{
	STEP_REPAIR, STEP_MESSAGE, STEP_END
} StepKind;

typedef struct StepTag
{
	StepKind	kind;
	int			message;
} StepTag;

struct Consumer
{
	ConsumerOptions options;
	Session    *session;
	ConsumerState state;
	bool		full;			/* the newest batch: there may be more */
	bool		draining;
	struct event *poll;
	PgStatement **handlers;		/* parallel to options.handlers */
	int		   *broken;			/* the same: program errors in a row */
	int			nhandlers;
	char		timeout_text[24];
	char		batch_text[24];
	char		poll_text[40];
	const char *setup_parameters[3];
	const char *limit_parameters[2];
	PgStep		setup[2];
	PgStep		transaction[2];
	Message    *messages;
	int			nmessages;
	PgStep	   *steps;
	StepTag    *tags;
	int			nsteps;
	const char *fail_parameters[4];
	char	   *fail_code;
	char	   *fail_error;
	char		snooze_text[24];
	Text		acks;
	const char *ack_parameters[1];
	const PgStep *closing;		/* of the transaction under way, or NULL */
	int			closing_step;
};

static void on_ready(void *argument);
static void on_down(void *argument);
static void on_poll(evutil_socket_t socket, short what, void *argument);
static void go_on(Consumer *consumer, bool any);
static void rest(Consumer *consumer);
static void wait_for_message(Consumer *consumer);
static void on_waited(void *argument, const PgResults *results);
static void receive(Consumer *consumer);
static void on_received(void *argument, const PgResults *results);
static void find_handler(const Consumer *consumer, Message *message, const char *type);
static void handle_from(Consumer *consumer, int first);
static void add_step(Consumer *consumer, StepKind kind, int message,
					 const PgStatement *statement, const char *const *parameters);
static void add_message_steps(Consumer *consumer, int index);
static void run_steps(Consumer *consumer);
static void on_handled(void *argument, const PgResults *results);
static void on_message_failed(Consumer *consumer, int index, const PgResults *results);
static void add_failure_step(Consumer *consumer, int index, const char *sqlstate,
							 const char *error);
static void settle(Consumer *consumer, const PgResults *results);
static void abandon(Consumer *consumer, const char *sqlstate, const char *reason);
static void on_rolled_back(void *argument, const PgResults *results);
static void forget_messages(Consumer *consumer);

/* Starts to connect and to consume; runs until closed. */
Consumer *
consumer_open(const ConsumerOptions *options)
{
	Consumer   *consumer = memory_zero(1, sizeof(*consumer));
	SessionOptions session = {.base = options->base, .conninfo = options->conninfo,
		.application = options->application, .ready = on_ready, .lost = on_down,
		.argument = consumer};
	size_t		most = (size_t) options->batch * STEPS_PER_MESSAGE + 9;

	consumer->options = *options;
	consumer->poll = evtimer_new(options->base, on_poll, consumer);
	while (options->handlers[consumer->nhandlers].message_type)
		consumer->nhandlers++;
	consumer->handlers = memory_zero((size_t) consumer->nhandlers, sizeof(PgStatement *));
	consumer->broken = memory_zero((size_t) consumer->nhandlers, sizeof(int));
	for (int i = 0; i < consumer->nhandlers; i++)
		consumer->handlers[i] = api_message_function(options->handlers[i].function);
	consumer->messages = memory_zero((size_t) options->batch, sizeof(Message));
	consumer->steps = memory_zero(most, sizeof(PgStep));
	consumer->tags = memory_zero(most, sizeof(StepTag));

	snprintf(consumer->timeout_text, sizeof(consumer->timeout_text), "%ld", options->timeout_ms);
	snprintf(consumer->batch_text, sizeof(consumer->batch_text), "%ld", options->batch);
	snprintf(consumer->poll_text, sizeof(consumer->poll_text), "%ld milliseconds",
			 options->poll_ms);
	consumer->setup_parameters[0] = consumer->timeout_text;
	consumer->setup_parameters[1] = consumer->timeout_text;
	consumer->setup_parameters[2] = options->source;
	consumer->setup[0] = (PgStep) {&api_session, consumer->setup_parameters};
	consumer->limit_parameters[0] = options->endpoint;
	consumer->limit_parameters[1] = consumer->timeout_text;
	consumer->setup[1] = (PgStep) {&api_session_timeout, consumer->limit_parameters};
	session.setup = consumer->setup;
	session.nsetup = lengthof(consumer->setup);
	consumer->transaction[0] = (PgStep) {&api_transaction, consumer->setup_parameters};
	consumer->transaction[1] = (PgStep) {&api_transaction_timeout, consumer->limit_parameters};
	session.transaction = consumer->transaction;
	session.ntransaction = lengthof(consumer->transaction);
	consumer->session = session_open(&session);
	return consumer;
}

bool
consumer_connected(const Consumer *consumer)
{
	return consumer->state != CONSUMER_DOWN;
}

/* Takes nothing more; what is in hand is finished. */
void
consumer_drain(Consumer *consumer)
{
	consumer->draining = true;
	evtimer_del(consumer->poll);
}

bool
consumer_drained(const Consumer *consumer)
{
	return consumer->state == CONSUMER_DOWN || consumer->state == CONSUMER_IDLE ||
		consumer->state == CONSUMER_WAITING;
}

void
consumer_close(Consumer *consumer)
{
	if (consumer == NULL)
		return;
	session_close(consumer->session);
	event_free(consumer->poll);
	forget_messages(consumer);
	for (int i = 0; i < consumer->nhandlers; i++)
		api_free(consumer->handlers[i]);
	free(consumer->handlers);
	free(consumer->broken);
	free(consumer->messages);
	free(consumer->steps);
	free(consumer->tags);
	text_free(&consumer->acks);
	free(consumer);
}

static void
on_ready(void *argument)
{
	Consumer   *consumer = argument;
	const char *message = "Consuming endpoint {Endpoint}";

	consumer->state = CONSUMER_IDLE;
	if (session_shared(consumer->session))
		message = "Consuming endpoint {Endpoint} by polling: a pooler's connection must not wait";
	log_write(LEVEL_INFORMATION, NULL, message, "Endpoint", consumer->options.endpoint, NULL);
	receive(consumer);
}

static void
on_down(void *argument)
{
	Consumer   *consumer = argument;

	consumer->state = CONSUMER_DOWN;
	evtimer_del(consumer->poll);
	forget_messages(consumer);
}

static void
on_poll(evutil_socket_t socket, short what, void *argument)
{
	(void) socket;
	(void) what;
	receive(argument);
}

/* After a transaction that has committed, with any messages or none. */
static void
go_on(Consumer *consumer, bool any)
{
	bool		shared = session_shared(consumer->session);

	/* of a full batch more is there; in a shared backend only a look can tell */
	if (consumer->full || (any && shared))
		receive(consumer);
	else if (shared)
		rest(consumer);
	else
		wait_for_message(consumer);
}

/* Looks again after the poll interval. */
static void
rest(Consumer *consumer)
{
	struct timeval interval = {consumer->options.poll_ms / 1000,
	consumer->options.poll_ms % 1000 * 1000};

	consumer->state = CONSUMER_IDLE;
	if (!consumer->draining)
		evtimer_add(consumer->poll, &interval);
}

static void
wait_for_message(Consumer *consumer)
{
	const char *parameters[] = {consumer->options.endpoint, consumer->poll_text};
	const PgStep step = {&api_wait_message, parameters};

	consumer->state = CONSUMER_IDLE;
	if (consumer->draining)
		return;
	consumer->state = CONSUMER_WAITING;
	if (!session_run(consumer->session, &step, 1,
					 consumer->options.poll_ms + RECEIVE_DEADLINE_MS, on_waited, consumer))
		consumer->state = CONSUMER_DOWN;
}

/* Looks also when nothing has woken it: the wait is spared work, not what is relied on. */
static void
on_waited(void *argument, const PgResults *results)
{
	Consumer   *consumer = argument;

	if (pg_lost(results))
		return;
	if (pg_succeeded(results))
	{
		receive(consumer);
		return;
	}
	log_write(LEVEL_ERROR, NULL, "Waiting at endpoint {Endpoint} failed: {Error}", "Endpoint",
			  consumer->options.endpoint, "Error", pg_message(results), "SqlState",
			  pg_sqlstate(results), NULL);
	rest(consumer);
}

static void
receive(Consumer *consumer)
{
	const char *parameters[] = {consumer->options.endpoint, consumer->batch_text};
	const PgStep steps[] = {{&api_begin, NULL}, {&api_receive, parameters}};

	consumer->state = CONSUMER_IDLE;
	if (consumer->draining)
		return;
	evtimer_del(consumer->poll);
	consumer->state = CONSUMER_RECEIVING;
	/* refused only when the session is going down: on_down follows */
	if (!session_run(consumer->session, steps, 2, RECEIVE_DEADLINE_MS, on_received, consumer))
		consumer->state = CONSUMER_DOWN;
}

static void
on_received(void *argument, const PgResults *results)
{
	Consumer   *consumer = argument;
	int			n;

	if (pg_lost(results))
		return;
	if (!pg_succeeded(results))
	{
		abandon(consumer, pg_sqlstate(results), pg_message(results));
		return;
	}
	n = pg_rows(results, 1);
	for (int i = 0; i < n && i < consumer->options.batch; i++)
	{
		message_take(&consumer->messages[i], results, 1, i, consumer->options.endpoint);
		find_handler(consumer, &consumer->messages[i], pg_value(results, 1, i, RECEIVE_TYPE));
	}
	consumer->nmessages = n;
	consumer->full = n >= consumer->options.batch;
	consumer->state = CONSUMER_HANDLING;
	consumer->nsteps = 0;
	handle_from(consumer, 0);
}

static void
find_handler(const Consumer *consumer, Message *message, const char *type)
{
	for (int i = 0; i < consumer->nhandlers; i++)
		if (strcmp(type, consumer->options.handlers[i].message_type) == 0)
		{
			message->handler = consumer->handlers[i];
			message->handler_number = i;
			message->function = consumer->options.handlers[i].function;
		}
}

/* Queues all messages from that one on, the end of the transaction, and sends. */
static void
handle_from(Consumer *consumer, int first)
{
	bool		any = false;

	for (int i = first; i < consumer->nmessages; i++)
		add_message_steps(consumer, i);
	text_reset(&consumer->acks);
	text_add(&consumer->acks, "{");
	for (int i = 0; i < consumer->nmessages; i++)
	{
		const Message *message = &consumer->messages[i];

		if (message->fate != FATE_OPEN && message->fate != FATE_DONE)
			continue;
		text_format(&consumer->acks, "%s%s", any ? "," : "", message->delivery_id);
		any = true;
	}
	text_add(&consumer->acks, "}");
	consumer->ack_parameters[0] = text_value(&consumer->acks);
	if (any && consumer->closing == NULL && consumer->options.closing)
		consumer->closing = consumer->options.closing(consumer->options.argument);
	consumer->closing_step = consumer->nsteps;
	if (consumer->closing)
		add_step(consumer, STEP_END, -1, consumer->closing->statement,
				 consumer->closing->parameters);
	if (any)
		add_step(consumer, STEP_END, -1, &api_ack, consumer->ack_parameters);
	add_step(consumer, STEP_END, -1, &api_commit, NULL);
	run_steps(consumer);
}

static void
add_step(Consumer *consumer, StepKind kind, int message, const PgStatement *statement,
		 const char *const *parameters)
{
	consumer->steps[consumer->nsteps] = (PgStep) {statement, parameters};
	consumer->tags[consumer->nsteps++] = (StepTag) {kind, message};
}

static void
add_message_steps(Consumer *consumer, int index)
{
	Message    *message = &consumer->messages[index];

	if (message->handler == NULL)
	{
		message->skip_parameters[0] = message->delivery_id;
		message->skip_parameters[1] = "no handler for this message type";
		message->fate = FATE_SKIPPED;
		add_step(consumer, STEP_MESSAGE, index, &api_skip, message->skip_parameters);
		return;
	}
	add_step(consumer, STEP_MESSAGE, index, &api_savepoint, NULL);
	add_step(consumer, STEP_MESSAGE, index, &api_handle,
			 (const char *const *) &message->delivery_id);
	add_step(consumer, STEP_MESSAGE, index, message->handler,
			 (const char *const *) &message->body);
	add_step(consumer, STEP_MESSAGE, index, &api_release, NULL);
}

static void
run_steps(Consumer *consumer)
{
	/* the server ends an overlong statement; this is for a server that is gone */
	long		deadline = consumer->options.timeout_ms * (consumer->nmessages + 1) + 10000;

	if (!session_run(consumer->session, consumer->steps, consumer->nsteps, deadline, on_handled,
					 consumer))
		consumer->state = CONSUMER_DOWN;
}

static void
on_handled(void *argument, const PgResults *results)
{
	Consumer   *consumer = argument;
	int			failed = pg_failed_step(results);

	if (pg_lost(results))
		return;
	if (failed < 0)
		settle(consumer, results);
	else if (consumer->tags[failed].kind == STEP_MESSAGE &&
			 consumer->messages[consumer->tags[failed].message].handler != NULL)
		on_message_failed(consumer, consumer->tags[failed].message, results);
	else
		abandon(consumer, pg_sqlstate(results), pg_message(results));
}

/*
 * Rolls the failed message back to its savepoint, and either tries it again at
 * once, when it only lost a race, or marks it failed; then the rest follows.
 */
static void
on_message_failed(Consumer *consumer, int index, const PgResults *results)
{
	Message    *message = &consumer->messages[index];
	const char *sqlstate = pg_sqlstate(results);
	bool		again = api_lost_race(sqlstate) && ++message->races < RACES_MAX;

	for (int i = 0; i < index; i++)
		if (consumer->messages[i].fate == FATE_OPEN)
			consumer->messages[i].fate = FATE_DONE;
	log_write(again ? LEVEL_INFORMATION : api_program_error(sqlstate) ? LEVEL_ERROR
																	  : LEVEL_WARNING,
			  &message->context,
			  again ? "Concurrency conflict in {MessageType}, trying again: {Error}"
			  : "Handling {MessageType} failed: {Error}",
			  "Error", pg_message(results), "SqlState", sqlstate, "Detail", pg_detail(results),
			  "Attempt", message->attempt, NULL);

	consumer->nsteps = 0;
	add_step(consumer, STEP_REPAIR, index, &api_rollback_to, NULL);
	add_step(consumer, STEP_REPAIR, index, &api_release, NULL);
	if (!again)
		add_failure_step(consumer, index, sqlstate, pg_message(results));
	handle_from(consumer, again ? index : index + 1);
}

/*
 * Marks a message failed.  If its handler is at fault, it waits instead, longer
 * each time, and no attempt is counted: it is handled when that is mended.
 */
static void
add_failure_step(Consumer *consumer, int index, const char *sqlstate, const char *error)
{
	Message    *message = &consumer->messages[index];
	const char **parameters = consumer->fail_parameters;

	free(consumer->fail_code);
	free(consumer->fail_error);
	/* 57014 is the statement timeout, which is the endpoint's timeout */
	consumer->fail_code = memory_string(strcmp(sqlstate, "57014") == 0 ? "timeout" : sqlstate);
	consumer->fail_error = memory_string(error);
	parameters[0] = message->delivery_id;
	if (api_program_error(sqlstate))
	{
		int			before = consumer->broken[message->handler_number]++;

		snprintf(consumer->snooze_text, sizeof(consumer->snooze_text), "%ld",
				 backoff_delay(before, SNOOZE_MIN_MS, SNOOZE_MAX_MS, 0.99));
		parameters[1] = consumer->snooze_text;
		parameters[2] = consumer->fail_error;
		message->fate = FATE_SNOOZED;
		add_step(consumer, STEP_REPAIR, index, &api_snooze, parameters);
		return;
	}
	parameters[1] = consumer->fail_code;
	parameters[2] = consumer->fail_error;
	parameters[3] = api_retryable(sqlstate) ? "true" : "false";
	message->fate = FATE_FAILED;
	add_step(consumer, STEP_REPAIR, index, &api_fail, parameters);
}

/* The transaction has committed: counts, traces, and looks for more. */
static void
settle(Consumer *consumer, const PgResults *results)
{
	uint64_t	now = clock_wall_ns();
	bool		any = consumer->nmessages > 0;

	for (int i = 0; i < consumer->nmessages; i++)
	{
		const Message *message = &consumer->messages[i];

		if (message_is_good(message) && message->handler)
			consumer->broken[message->handler_number] = 0;
		message_end(message, now);
	}
	if (any && consumer->options.committed)
		consumer->options.committed(consumer->options.argument, results,
									consumer->closing ? consumer->closing_step : -1);
	consumer->closing = NULL;
	forget_messages(consumer);
	go_on(consumer, any);
}

/* Something failed that is no message's fault: gives the whole batch back. */
static void
abandon(Consumer *consumer, const char *sqlstate, const char *reason)
{
	static const PgStep rollback = {&api_rollback, NULL};

	log_write(LEVEL_ERROR, NULL, "Batch of endpoint {Endpoint} rolled back: {Error}", "Endpoint",
			  consumer->options.endpoint, "Error", reason, "SqlState", sqlstate, NULL);
	forget_messages(consumer);
	if (!session_run(consumer->session, &rollback, 1, RECEIVE_DEADLINE_MS, on_rolled_back,
					 consumer))
		consumer->state = CONSUMER_DOWN;
}

static void
on_rolled_back(void *argument, const PgResults *results)
{
	Consumer   *consumer = argument;

	if (pg_lost(results))
		return;
	rest(consumer);				/* what failed may last */
}

static void
forget_messages(Consumer *consumer)
{
	for (int i = 0; i < consumer->nmessages; i++)
		message_free(&consumer->messages[i]);
	consumer->nmessages = 0;
	if (consumer->closing)
		consumer->options.rolled_back(consumer->options.argument);
	consumer->closing = NULL;
	free(consumer->fail_code);
	free(consumer->fail_error);
	consumer->fail_code = consumer->fail_error = NULL;
}
