/*
 * envelope.c
 *		What surrounds a message, and what an instance keeps and passes on of it.
 */
#include "postgres.h"

#include "saga/engine/envelope.h"
#include "saga/value/step_key.h"

/* What an instance keeps of the context of the message that created it. */
static const char *const kept_context[] = {
	"correlation_id", "conversation_id", "tenant_id", "traceparent"
};

/*
 * A message's envelope as JSON, without the body.
 */
Tree *
envelope_of_message(const BusMessage *message)
{
	Tree	   *envelope = tree_object();

	tree_put_text(envelope, "message_id", uuid_text(&message->message_id));
	tree_put_text(envelope, "message_type", message->message_type);
	tree_put(envelope, "schema_version", tree_int(message->schema_version));
	tree_put(envelope, "headers", tree_from_jsonb(message->headers));
	tree_put_text(envelope, "correlation_id", uuid_text(&message->correlation_id));
	tree_put_text(envelope, "conversation_id", uuid_text(&message->conversation_id));
	tree_put_text(envelope, "causation_id",
				  message->has_causation ? uuid_text(&message->causation_id) : NULL);
	tree_put_text(envelope, "user_id", message->user_id);
	tree_put_text(envelope, "tenant_id", message->tenant_id);
	tree_put_text(envelope, "traceparent", message->traceparent);
	tree_put_text(envelope, "source", message->source);
	tree_put(envelope, "sent_at", time_to_tree(message->sent_at));
	tree_put(envelope, "expires_at",
			 message->expires_at == BUS_NO_TIME ? tree_null() : time_to_tree(message->expires_at));
	tree_put_text(envelope, "partition_key", message->partition_key);
	return tree_put(envelope, "attempt", tree_int(message->attempt));
}

/*
 * The context that an instance keeps, from the envelope that creates it.
 */
Tree *
envelope_kept(const Tree *envelope)
{
	Tree	   *context = tree_object();

	for (int i = 0; i < lengthof(kept_context); i++)
	{
		Tree	   *value = tree_get(envelope, kept_context[i]);

		if (value != NULL && value->type == TREE_STRING)
			tree_put(context, kept_context[i], value);
	}
	return context;
}

/*
 * The same, from the context of a session that creates it.
 */
Tree *
envelope_kept_from_session(const Context *context)
{
	Tree	   *kept = tree_object();

	if (context == NULL)
		return kept;
	if (context->correlation_id != NULL)
		tree_put_text(kept, "correlation_id", uuid_text(context->correlation_id));
	if (context->conversation_id != NULL)
		tree_put_text(kept, "conversation_id", uuid_text(context->conversation_id));
	if (context->tenant_id != NULL)
		tree_put_text(kept, "tenant_id", context->tenant_id);
	if (context->traceparent != NULL)
		tree_put_text(kept, "traceparent", context->traceparent);
	return kept;
}

/*
 * All that the instance sends is stamped with the context it was created in; the
 * cause is the message at hand.  What has no trace of its own, as a timer, goes on
 * with the one that the instance began in.
 */
void
envelope_take_context(const Machine *machine, const Tree *envelope,
					  const pg_uuid_t *message_id)
{
	Context		context = {0};

	context.correlation_id = uuid_from_tree(tree_get(machine->context, "correlation_id"));
	if (context.correlation_id == NULL)
		context.correlation_id = unconstify(pg_uuid_t *, &machine->id);
	context.conversation_id = uuid_from_tree(tree_get(machine->context, "conversation_id"));
	context.causation_id = unconstify(pg_uuid_t *, message_id);
	context.tenant_id = tree_get_text(machine->context, "tenant_id");
	context.user_id = tree_get_text(envelope, "user_id");
	context.traceparent = tree_get_text(envelope, "traceparent");
	if (context.traceparent == NULL)
		context.traceparent = tree_get_text(machine->context, "traceparent");
	context_set(&context);
}
