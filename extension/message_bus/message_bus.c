/*
 * message_bus.c
 *		Registers the bus with the layers below.
 */
#include "postgres.h"

#include "storage/ipc.h"
#include "storage/shmem.h"

#include "log/position.h"
#include "message_bus/endpoint/endpoint.h"
#include "message_bus/keep/transaction.h"
#include "message_bus/know/flight.h"
#include "message_bus/know/relations.h"
#include "message_bus/know/shared.h"
#include "message_bus/message_bus.h"

/*
 * From _PG_init.
 */
void
message_bus_init(void)
{
	LogDefinition definition = {&bus_position_sequence, NULL, NULL, true};

	position_log_define(LOG_MESSAGE_BUS, &definition);
	endpoint_cache_init();
	transaction_init();
}

/*
 * Reserves shared memory; from the hook for that.
 */
void
message_bus_request_shared_memory(void)
{
	RequestAddinShmemSpace(bus_shared_size());
}

void
message_bus_attach_shared_memory(void)
{
	bus_shared_attach();
}

void
message_bus_witness(void)
{
	bus_shared_attach();
	flight_witness();
}
