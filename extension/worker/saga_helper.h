/*
 * saga_helper.h
 *		More processes for the sagas of a database.
 */
#ifndef ECOMMERCE_WORKER_SAGA_HELPER_H
#define ECOMMERCE_WORKER_SAGA_HELPER_H

#include "pg/duty.h"

extern void saga_helper_duty(DutyWish *wish);

#endif
