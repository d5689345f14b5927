/*
 * trace.c
 *		Where spans go: to whoever has asked for them, or nowhere.
 *
 * So what records spans needs no knowledge of an exporter and of what that is made with.
 */
#include "lib/trace.h"

#include <stddef.h>

static TraceSink spans_to;

/* Passes each span to sink; NULL stops that. */
void
trace_set_sink(TraceSink sink)
{
	spans_to = sink;
}

void
trace_record(const Context *context, SpanKind kind, const char *name, uint64_t start_ns,
			 uint64_t end_ns, const char *error)
{
	if (spans_to && context->sampled)
		spans_to(context, kind, name, start_ns, end_ns, error);
}
