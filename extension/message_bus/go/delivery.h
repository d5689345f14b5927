/*
 * delivery.h
 *		A delivery that is to be settled, held or leased.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_GO_DELIVERY_H
#define ECOMMERCE_MESSAGE_BUS_GO_DELIVERY_H

#include "postgres.h"

#include "storage/itemptr.h"
#include "utils/uuid.h"

#include "message_bus/go/held.h"
#include "message_bus/know/handle.h"
#include "message_bus/place/row.h"

/* Whose a delivery is. */
typedef enum DeliveryKind
{
	DELIVERY_HELD,				/* this transaction's */
	DELIVERY_LEASED,
	DELIVERY_EXPIRED			/* its lease has ended, and nobody has had it since */
} DeliveryKind;

typedef struct Delivery
{
	DeliveryKind kind;
	int64		delivery_id;
	Endpoint   *endpoint;
	int32		lane;
	pg_uuid_t	message_id;
	int32		attempt;
	int32		deaths;			/* of those who held it, part of attempt */
	int64		position;		/* in the ring; 0: it had been set aside */
	int			held;			/* number of the held delivery */
	/* From message_bus.lease. */
	int64		upto;			/* where the cursor goes with the lane's last lease */
	char	   *message_type;
	bool		probe;
	bool		handled;		/* by its consumer, as far as is known */
	/* From delivery_read() on. */
	bool		read;
	ItemPointerData tid;		/* of one that had been set aside */
	RowValues	row;
} Delivery;

extern void delivery_hold(Delivery *delivery, int number);
extern bool delivery_find_held(Delivery *delivery, int64 delivery_id);
extern bool delivery_find_leased(Delivery *delivery, int64 delivery_id);
extern bool delivery_find_expired(Delivery *delivery, int64 delivery_id);
extern void delivery_look(Delivery *delivery, int64 delivery_id);
extern void delivery_open(Delivery *delivery, int64 delivery_id);
extern bool delivery_of_lease(Delivery *delivery, int64 delivery_id);
extern bool delivery_read(Delivery *delivery);
extern void delivery_close(Delivery *delivery, Outcome outcome);
extern void delivery_refuse(int64 delivery_id) pg_attribute_noreturn();

#endif
