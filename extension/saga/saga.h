/*
 * saga.h
 *		What the worker may know of the saga engine.
 */
#ifndef ECOMMERCE_SAGA_SAGA_H
#define ECOMMERCE_SAGA_SAGA_H

#include "pg/duty.h"
#include "pg/unit.h"

extern const UnitKind saga_units;

extern void saga_attention_duty(DutyWish *wish);
extern bool saga_any_definition(void);
extern bool saga_is_definition_table(Oid relation);

#endif
