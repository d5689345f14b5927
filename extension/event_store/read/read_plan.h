/*
 * read_plan.h
 *		Reads in FROM give their events as they are found.
 */
#ifndef ECOMMERCE_EVENT_STORE_READ_READ_PLAN_H
#define ECOMMERCE_EVENT_STORE_READ_READ_PLAN_H

#include "postgres.h"

extern void read_plan_install(void);

#endif
