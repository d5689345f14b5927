/*
 * attention.h
 *		Which instances may be stuck.
 */
#ifndef ECOMMERCE_SAGA_ENGINE_ATTENTION_H
#define ECOMMERCE_SAGA_ENGINE_ATTENTION_H

#include "saga/machine/machine.h"

extern bool attention_is_due(const Machine *machine);
extern void attention_set(const Machine *machine, bool due);

#endif
