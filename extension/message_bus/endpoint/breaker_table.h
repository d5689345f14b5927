/*
 * breaker_table.h
 *		Circuit breakers on disk.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_ENDPOINT_BREAKER_TABLE_H
#define ECOMMERCE_MESSAGE_BUS_ENDPOINT_BREAKER_TABLE_H

#include "postgres.h"

#include "message_bus/endpoint/endpoint.h"
#include "pg/result.h"

extern void breaker_load(const Endpoint *endpoint);
extern void breaker_write_down(const Endpoint *endpoint, const char *message_type,
							   const BusBreaker *breaker);
extern void breaker_write_dirty(const Endpoint *endpoint);
extern void breaker_describe(const Endpoint *endpoint, SetResult *result);
extern void breaker_table_end_transaction(bool committed);

#endif
