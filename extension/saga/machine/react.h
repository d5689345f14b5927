/*
 * react.h
 *		How an instance reacts to an event: a function of both, without a database.
 *
 * The engine stores and sends what comes out; the simulator looks at it.  Errors
 * (a guard that is neither true nor false, a template that matches nothing) leave
 * the machine unusable: work on a copy, or load it again.
 */
#ifndef ECOMMERCE_SAGA_MACHINE_REACT_H
#define ECOMMERCE_SAGA_MACHINE_REACT_H

#include "saga/machine/effects.h"

extern bool react_start(Machine *machine, const Input *input, Effects *effects);
extern void react(Machine *machine, const Input *input, Effects *effects);
extern void react_timer(Machine *machine, int timer, TimestampTz now, Effects *effects);
extern void react_goto(Machine *machine, int state, const Input *input, Effects *effects);
extern void react_retry(Machine *machine, const Input *input, Effects *effects);
extern bool react_cancel(Machine *machine, const Input *input, Effects *effects);
extern void react_migrated(Machine *machine, const Input *input, Effects *effects);

#endif
