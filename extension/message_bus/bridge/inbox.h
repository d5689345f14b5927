/*
 * inbox.h
 *		Which foreign messages have been accepted.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_BRIDGE_INBOX_H
#define ECOMMERCE_MESSAGE_BUS_BRIDGE_INBOX_H

#include "postgres.h"

#include "message_bus/bridge/bridge.h"

extern int	inbox_turn(void);
extern int	inbox_take(const Bridge *bridge, int slot, Datum envelopes, bool unreadable,
					   Datum **messages);

#endif
