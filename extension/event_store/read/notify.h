/*
 * notify.h
 *		Notifies listeners of new events, from the background worker.
 */
#ifndef ECOMMERCE_EVENT_STORE_READ_NOTIFY_H
#define ECOMMERCE_EVENT_STORE_READ_NOTIFY_H

#include "pg/duty.h"

extern void event_notify_run(DutyWish *wish);

#endif
