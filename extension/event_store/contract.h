/*
 * contract.h
 *		Registered event types: checking data that comes in, upcasting data that
 *		goes out.
 */
#ifndef ECOMMERCE_EVENT_STORE_CONTRACT_H
#define ECOMMERCE_EVENT_STORE_CONTRACT_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

/* Asks contract_check() for the newest registered version. */
#define CONTRACT_NEWEST 0

extern void contract_check(const char *type, int length, int32 *schema_version,
						   Jsonb *data, int number);
extern Jsonb *contract_upcast(const char *type, int length, int32 *schema_version, Jsonb *data);
extern bool contract_has_upcaster(const char *type, int length);
extern void contract_describe_upcasting(const char *type, int length, StringInfo description,
										void (*describe_function) (StringInfo, const char *));

#endif
