/*
 * contract.h
 *		Registered event types: checking data that comes in, upcasting data that
 *		goes out.
 */
#ifndef ECOMMERCE_EVENT_STORE_CONTRACT_CONTRACT_H
#define ECOMMERCE_EVENT_STORE_CONTRACT_CONTRACT_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

#include "event_store/contract/upcaster.h"
#include "pg/registration.h"

#define EVENT_TYPE_MAX 255

/* Asks contract_check() for the version that is current. */
#define CONTRACT_CURRENT 0

extern Jsonb *contract_check(const char *type, int length, int32 *schema_version,
						   Jsonb *data, int number);
extern int32 contract_current_version(const char *type, int length);
extern Jsonb *contract_upcast(const char *type, int length, int32 *schema_version, Jsonb *data,
							  Upcasting *many);
extern Jsonb *contract_upcast_to(const char *type, int length, int32 *schema_version, Jsonb *data,
								 int32 upto);
extern bool contract_upcasts(const char *type, int length, int32 schema_version);
extern bool contract_has_upcaster(const char *type, int length);
extern char *contract_type_registration(const char *type, int length, int32 version);
extern char *contract_upcaster_registration(const char *type, int length, int32 from);
extern void contract_describe_upcasting(const char *type, int length, StringInfo description,
										void (*describe_function) (StringInfo, Registration *));

extern text *event_type_argument(FunctionCallInfo fcinfo, int argument);

#endif
