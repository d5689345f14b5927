/*
 * trace.h
 *		Spans of a distributed trace.
 */
#ifndef SERVICES_LIB_TRACE_H
#define SERVICES_LIB_TRACE_H

#include "lib/context.h"

/* As OpenTelemetry numbers them. */
typedef enum SpanKind
{
	SPAN_INTERNAL = 1,
	SPAN_SERVER = 2,
	SPAN_CLIENT = 3,
	SPAN_PRODUCER = 4,
	SPAN_CONSUMER = 5
} SpanKind;

typedef void (*TraceSink) (const Context *context, SpanKind kind, const char *name,
						   uint64_t start_ns, uint64_t end_ns, const char *error);

/*
 * Records the span that the context stands for.  error NULL is success.  Does
 * nothing unless traces are exported and this trace is sampled.
 */
void		trace_record(const Context *context, SpanKind kind, const char *name,
						 uint64_t start_ns, uint64_t end_ns, const char *error);
void		trace_set_sink(TraceSink sink);

#endif
