/*
 * owed.h
 *		Compensations that are owed by rule.
 */
#ifndef ECOMMERCE_SAGA_MACHINE_OWED_H
#define ECOMMERCE_SAGA_MACHINE_OWED_H

#include "saga/machine/turn.h"

extern void owed_count(Turn *turn);
extern bool owed_pursue(Turn *turn);
extern bool owed_pursue_due(Turn *turn);
extern bool owed_hear_refusals(Turn *turn);

#endif
