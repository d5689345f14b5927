/*
 * strict.h
 *		Strict order of a key's messages.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_GO_STRICT_H
#define ECOMMERCE_MESSAGE_BUS_GO_STRICT_H

#include "postgres.h"

#include "utils/hsearch.h"

#include "message_bus/go/held.h"
#include "message_bus/place/row.h"

/* The messages of a lane that were set aside: the first of each key. */
typedef HTAB StrictHeads;

extern StrictHeads *strict_heads(const Endpoint *endpoint, int32 lane);
extern uint64 strict_key(const RowValues *row);
extern bool strict_is_first(StrictHeads *heads, uint64 key, int64 position);
extern bool strict_is_first_row(StrictHeads *heads, const RowValues *row);
extern void strict_add(StrictHeads *heads, uint64 key, int64 position);
extern bool strict_in_hand(const HeldDelivery *delivery);

#endif
