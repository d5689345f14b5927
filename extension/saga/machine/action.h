/*
 * action.h
 *		What a transition does to the machine, and what it sends.
 */
#ifndef ECOMMERCE_SAGA_MACHINE_ACTION_H
#define ECOMMERCE_SAGA_MACHINE_ACTION_H

#include "saga/machine/turn.h"

extern bool transition_take(Turn *turn, List *transitions);
extern bool resend_command(Turn *turn, int timer);

#endif
