/*
 * breaker_table.h
 *		Circuit breakers on disk.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_ENDPOINT_BREAKER_TABLE_H
#define ECOMMERCE_MESSAGE_BUS_ENDPOINT_BREAKER_TABLE_H

#include "postgres.h"

#include "message_bus/endpoint/endpoint.h"
#include "message_bus/know/shared.h"
#include "pg/result.h"

extern void breaker_load(BusEndpoint *endpoint);
extern void breaker_write_down(BusEndpoint *endpoint, const char *message_type,
							   const BusBreaker *breaker);
extern void breaker_write_dirty(BusEndpoint *endpoint);
extern void breaker_describe(const Endpoint *endpoint, SetResult *result);
extern void breaker_table_end_transaction(bool committed);

#endif
