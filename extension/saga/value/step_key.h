/*
 * step_key.h
 *		Names of commands that are the same whenever they are worked out.
 */
#ifndef ECOMMERCE_SAGA_VALUE_STEP_KEY_H
#define ECOMMERCE_SAGA_VALUE_STEP_KEY_H

#include "postgres.h"

#include "utils/uuid.h"

#include "pg/uuid_v5.h"
#include "saga/value/tree.h"

extern const pg_uuid_t *step_key_namespace(void);
extern char *step_key(const char *saga, const char *correlation_id, const char *step,
					  const char *attempt);
extern char *step_key_reference(const pg_uuid_t *id);
extern char *uuid_text(const pg_uuid_t *uuid);
extern pg_uuid_t *uuid_from_tree(const Tree *tree);

#endif
