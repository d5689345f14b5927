/*
 * otlp.h
 *		Export of traces and logs in the OpenTelemetry protocol.
 */
#ifndef SERVICES_LIB_OTLP_H
#define SERVICES_LIB_OTLP_H

#include <stdbool.h>
#include <event2/event.h>

/* As the environment variables of the specification give it; empty is not set. */
typedef struct OtlpOptions
{
	const char *endpoint;		/* /v1/traces and /v1/logs are put behind it */
	const char *traces_endpoint;	/* whole, instead */
	const char *logs_endpoint;
	const char *headers;		/* "name=value,name=value", values percent-encoded */
	const char *service;
	const char *version;
} OtlpOptions;

void		otlp_start(struct event_base *base, const OtlpOptions *options);
void		otlp_flush(void);
void		otlp_stop(void);

#endif
