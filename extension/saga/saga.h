/*
 * saga.h
 *		What the worker may know of the saga engine.
 */
#ifndef ECOMMERCE_SAGA_SAGA_H
#define ECOMMERCE_SAGA_SAGA_H

#include "pg/duty.h"

extern void saga_run_duty(DutyWish *wish);
extern bool saga_run_messages(void);

#endif
