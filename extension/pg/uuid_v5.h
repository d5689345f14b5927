/*
 * uuid_v5.h
 *		UUIDs of names.
 */
#ifndef ECOMMERCE_PG_UUID_V5_H
#define ECOMMERCE_PG_UUID_V5_H

#include "postgres.h"

#include "utils/uuid.h"

extern void uuid_v5(const pg_uuid_t *space, const char *name, pg_uuid_t *uuid);

#endif
