/*
 * choice.h
 *		Choices of a simulation: drawn from a seed, or enumerated one after the other.
 */
#ifndef ECOMMERCE_SAGA_SIMULATE_CHOICE_H
#define ECOMMERCE_SAGA_SIMULATE_CHOICE_H

#include "postgres.h"

typedef struct Chooser Chooser;

extern Chooser *chooser_new(bool exhaustive);
extern void chooser_begin(Chooser *chooser, int64 seed, int schedule);
extern int	chooser_choose(void *chooser, int count);
extern bool chooser_next(Chooser *chooser);
extern uint64 chooser_seed(int64 seed, int schedule);

#endif
