/*
 * message.c
 *		A message of the bus in hand: taken from the row that receive() gave, and what logs,
 *		metrics and traces say of it.
 */
#include "lib/message.h"

#include <stdlib.h>
#include <string.h>

#include "lib/api.h"
#include "lib/log.h"
#include "lib/metrics.h"
#include "lib/text.h"
#include "lib/trace.h"

/* Sets all but the handler; message_free() lets go of it. */
void
message_take(Message *message, const PgResults *results, int step, int row, const char *endpoint)
{
	const char *user = pg_value(results, step, row, RECEIVE_USER_ID);
	const char *tenant = pg_value(results, step, row, RECEIVE_TENANT_ID);
	const char *age = pg_value(results, step, row, RECEIVE_AGE_MS);
	double		delay = age ? strtod(age, NULL) : 0;

	memset(message, 0, sizeof(*message));
	message->delivery_id = memory_string(pg_value(results, step, row, RECEIVE_DELIVERY_ID));
	message->body = memory_string(pg_value(results, step, row, RECEIVE_BODY));
	copy_string(message->attempt, sizeof(message->attempt),
				pg_value(results, step, row, RECEIVE_ATTEMPT));
	context_start(&message->context, pg_value(results, step, row, RECEIVE_CORRELATION_ID),
				  pg_value(results, step, row, RECEIVE_TRACEPARENT));
	message->context.is_message = true;
	copy_string(message->context.subject, sizeof(message->context.subject),
				pg_value(results, step, row, RECEIVE_TYPE));
	copy_string(message->context.user_id, sizeof(message->context.user_id), user ? user : "");
	copy_string(message->context.tenant_id, sizeof(message->context.tenant_id),
				tenant ? tenant : "");
	message->started_ns = clock_wall_ns();
	/* it may come from a server whose clock is ahead of ours */
	metrics_observe(&metric_message_delay, delay > 0 ? delay / 1000 : 0, endpoint);
	log_write(LEVEL_INFORMATION, &message->context,
			  "Processing message {MessageType} with correlation {CorrelationId}",
			  "Endpoint", endpoint, "Attempt", message->attempt, NULL);
}

/* Whether its handler has done what it was to do. */
bool
message_is_good(const Message *message)
{
	return message->fate == FATE_OPEN || message->fate == FATE_DONE;
}

/* What became of it has committed: counts and traces. */
void
message_end(const Message *message, uint64_t now)
{
	static const char *const outcomes[] = {"done", "done", "failed", "skipped", "snoozed"};
	const char *outcome = outcomes[message->fate];
	const char *error = message_is_good(message) ? NULL : outcome;
	/* a type without handler may be anything: no series of its own */
	const char *type = message->handler ? message->context.subject : "unknown";
	Context		statement;

	metrics_count(&metric_messages, 1, type, outcome);
	metrics_observe(&metric_message_duration, (double) (now - message->started_ns) / 1e9, type);
	trace_record(&message->context, SPAN_CONSUMER, message->context.subject, message->started_ns,
				 now, error);
	if (message->function)
	{
		context_child(&statement, &message->context);
		trace_record(&statement, SPAN_CLIENT, message->function, message->started_ns, now, error);
	}
	if (message->fate == FATE_SKIPPED)
		log_write(LEVEL_WARNING, &message->context,
				  "No handler for {MessageType}; it is a dead letter now", NULL);
}

void
message_free(Message *message)
{
	free(message->delivery_id);
	free(message->body);
}
