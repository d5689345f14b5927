/*
 * outstanding.h
 *		Commands that were sent and are not answered, and what "compensate" undoes.
 */
#ifndef ECOMMERCE_SAGA_MACHINE_OUTSTANDING_H
#define ECOMMERCE_SAGA_MACHINE_OUTSTANDING_H

#include "saga/machine/turn.h"

extern Outstanding *outstanding_find(Turn *turn, int rule, const char *key);
extern void outstanding_send(Turn *turn, Outstanding *outstanding);
extern void outstanding_plan(Turn *turn, Outstanding *outstanding);
extern void outstanding_retry(Turn *turn);
extern void outstanding_arm(Turn *turn);

extern void undo_begin(Turn *turn, CompensateAction *compensate);
extern bool undo_pursue(Turn *turn);
extern bool undo_confirm(Turn *turn);
extern void undo_abandon(Turn *turn);
extern SendAction *undo_of_step(const Definition *definition, const char *step);

#endif
