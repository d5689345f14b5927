/*
 * outcall.h
 *		Calls to the outside over HTTP and SMTP, without blocking the loop:
 *		timeout, retry, circuit breaker, a span and metrics for each.
 */
#ifndef SERVICES_LIB_OUTCALL_H
#define SERVICES_LIB_OUTCALL_H

#include <stdbool.h>
#include <stddef.h>
#include <event2/event.h>

#include "lib/context.h"
#include "lib/resilience.h"

/* Somebody outside; lives as long as the loop. */
typedef struct OutTarget
{
	const char *name;			/* in logs, metrics, spans */
	long		timeout_ms;
	int			retries;		/* of connection failures, 429 and 5xx */
	long		retry_min_ms;
	long		retry_max_ms;
	bool		quiet;			/* no span, no log: for the telemetry itself */
	Breaker		breaker;
} OutTarget;

/* What to send; everything is copied. */
typedef struct OutRequest
{
	const char *method;			/* "GET", "POST", or "MAIL" */
	const char *url;
	const char *const *headers; /* "Name: value", ended by NULL */
	const void *body;
	size_t		body_length;
	const char *user;			/* HTTP basic or SMTP login, may be NULL */
	const char *password;
	const char *subject;		/* calls about the same count once for the breaker; may be NULL */
	const char *mail_from;		/* of MAIL */
	const char *mail_to;
	const Context *context;		/* may be NULL */
} OutRequest;

typedef enum OutResult
{
	OUT_ANSWERED,				/* status and body say the rest */
	OUT_NOT_SENT,				/* certainly had no effect */
	OUT_UNKNOWN					/* may have had its effect: timeout, broken connection */
} OutResult;

typedef struct OutReply
{
	OutResult	result;
	bool		doubtful;		/* an attempt before the last may have had its effect */
	long		status;			/* HTTP or SMTP */
	const char *body;
	size_t		body_length;
	const char *error;			/* "" if answered */
} OutReply;

typedef void (*OutDone) (void *argument, const OutReply *reply);

bool		outcall_start(struct event_base *base);
void		outcall_stop(void);
void		outcall_send(OutTarget *target, const OutRequest *request, OutDone done,
						 void *argument);
int			outcall_pending(void);
void		outcall_target_init(OutTarget *target, const char *name, long timeout_ms, int retries);

#endif
