/*
 * flight.h
 *		What processes had in hand when the server crashed.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_KNOW_FLIGHT_H
#define ECOMMERCE_MESSAGE_BUS_KNOW_FLIGHT_H

#include "postgres.h"

#include "utils/uuid.h"

#include "message_bus/know/shared.h"

/* A message that a process handles. */
typedef struct FlightRecord
{
	BusEndpointKey key;
	pg_uuid_t	message_id;
	int32		deaths;			/* of those who handled it before */
} FlightRecord;

extern Size flight_shared_size(void);
extern void flight_shared_attach(void);
extern void flight_witness(void);
extern void flight_begin(const FlightRecord *record);
extern void flight_end(void);
extern bool flight_take_crashed(const BusEndpointKey *key, FlightRecord *record);

#endif
