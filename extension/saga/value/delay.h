/*
 * delay.h
 *		Delays of timers and resends.
 */
#ifndef ECOMMERCE_SAGA_VALUE_DELAY_H
#define ECOMMERCE_SAGA_VALUE_DELAY_H

#include "postgres.h"

#include "pg/backoff.h"
#include "saga/value/tree.h"

extern Backoff *delay_policy(const Tree *policy);
extern int64 delay_of(const Backoff *backoff, int attempt, uint64 seed);

#endif
