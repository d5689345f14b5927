/*
 * contract_check.h
 *		Checking a JSON document against a compiled contract.
 */
#ifndef ECOMMERCE_EVENT_STORE_CONTRACT_CONTRACT_CHECK_H
#define ECOMMERCE_EVENT_STORE_CONTRACT_CONTRACT_CHECK_H

#include "postgres.h"

#include "utils/jsonb.h"

#include "event_store/contract/contract_tree.h"

/* What is being checked, for messages. */
typedef struct ContractSubject
{
	const char *type;			/* not terminated */
	int			type_length;
	int32		schema_version;
	int			number;			/* of the event in its call, from 0; -1: it is alone */
} ContractSubject;

extern Jsonb *contract_check_document(ContractNode *root, Jsonb *data,
									  const ContractSubject *subject);

#endif
