/*
 * courier.h
 *		Who brings events to a target: a thread, one thing at a time.
 */
#ifndef SERVICES_STREAM_COURIER_H
#define SERVICES_STREAM_COURIER_H

#include <event2/event.h>

#include "stream/target.h"

typedef struct CourierOptions
{
	struct event_base *base;
	const TargetKind *kind;
	TargetOptions target;		/* but for the worker */
	void		(*done) (void *argument, const char *trouble);	/* NULL: all is well */
	void	   *argument;
} CourierOptions;

typedef struct Courier Courier;

Courier    *courier_open(const CourierOptions *options);
void		courier_connect(Courier *courier);
const Place *courier_place(const Courier *courier);
void		courier_publish(Courier *courier, const Parcel *parcel);
void		courier_disconnect(Courier *courier);
void		courier_close(Courier *courier);

#endif
