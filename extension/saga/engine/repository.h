/*
 * repository.h
 *		What the repository and the operators' functions share.
 */
#ifndef ECOMMERCE_SAGA_ENGINE_REPOSITORY_H
#define ECOMMERCE_SAGA_ENGINE_REPOSITORY_H

#include "fmgr.h"

#include "saga/machine/machine.h"

extern int	repository_state(const Definition *definition, const char *name);
extern Machine *repository_require(const char *saga, const pg_uuid_t *id, const char *purpose);

#endif
