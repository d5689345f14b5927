/*
 * otlp.h
 *		Export of traces and logs in the OpenTelemetry protocol.
 */
#ifndef SERVICES_LIB_OTLP_H
#define SERVICES_LIB_OTLP_H

#include <stdbool.h>
#include <event2/event.h>

bool		otlp_start(struct event_base *base, const char *endpoint, const char *service,
					   const char *version, const char *headers);
void		otlp_flush(void);
void		otlp_stop(void);

#endif
