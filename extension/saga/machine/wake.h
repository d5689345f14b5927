/*
 * wake.h
 *		What wakes an instance that no message comes for.
 */
#ifndef ECOMMERCE_SAGA_MACHINE_WAKE_H
#define ECOMMERCE_SAGA_MACHINE_WAKE_H

#include "saga/machine/machine.h"

extern void wake_set_timers(Machine *machine, const Tree *timers, TimestampTz now, Tree *actions);
extern void wake_ensure(Machine *machine, TimestampTz now, Tree *actions);
extern Tree *wake_migrate(const Machine *machine, const Definition *to, const Tree *state_map,
						  const Tree *timer_map);

#endif
