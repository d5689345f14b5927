/*
 * contract_value.h
 *		Values inside jsonb, where they stand, and their conversion to SQL.
 */
#ifndef ECOMMERCE_EVENT_STORE_CONTRACT_CONTRACT_VALUE_H
#define ECOMMERCE_EVENT_STORE_CONTRACT_CONTRACT_VALUE_H

#include "postgres.h"

#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "event_store/contract/contract_tree.h"
#include "pg/json_walk.h"

extern bool contract_is_written_so(const ContractNode *node, const JsonSlice *value);
extern bool contract_is_fraction(Numeric number);
extern bool contract_fits(const ContractNode *node, const JsonSlice *value);
extern Datum contract_datum(ContractNode *node, const JsonSlice *value, bool *isnull);

#endif
