/*
 * watch.h
 *		Whose message a process handles, for when it dies of it.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_GO_WATCH_H
#define ECOMMERCE_MESSAGE_BUS_GO_WATCH_H

#include "postgres.h"

#include "message_bus/go/delivery.h"

extern void watch_delivery(const Delivery *delivery);

#endif
