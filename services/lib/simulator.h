/*
 * simulator.h
 *		Outside work done by a simulated provider, a SQL function with books of
 *		its own.
 */
#ifndef SERVICES_LIB_SIMULATOR_H
#define SERVICES_LIB_SIMULATOR_H

#include "lib/service.h"

void		simulator_start(Runtime *runtime, const char *function);
void		simulator_call(WorkItem *item);
const char *simulator_state(void);

#endif
