/*
 * projection_deferred.h
 *		Events that appends have left to the worker, by inline projection.
 */
#ifndef ECOMMERCE_EVENT_STORE_PROJECTION_PROJECTION_DEFERRED_H
#define ECOMMERCE_EVENT_STORE_PROJECTION_PROJECTION_DEFERRED_H

#include "postgres.h"

#include "event_store/projection/projection.h"

extern void deferred_lock(void);
extern bool deferred_any(const Projection *projection);
extern bool deferred_any_up_to(const Projection *projection, int64 position);
extern void deferred_add(const Projection *projection, int64 position, const ErrorData *error);
extern bool deferred_shut_out_appends(void);

extern int	deferred_positions(const Projection *projection, int max, int64 **positions);
extern bool deferred_failed_at(const Projection *projection, int64 position);
extern void deferred_remove(const Projection *projection, const int64 *positions, int count);
extern void deferred_remove_up_to(const Projection *projection, int64 upto);
extern void deferred_remove_all(const char *name);

extern void deferred_hold_back(const Projection *projection);
extern bool deferred_held_back_here(void);
extern void deferred_let_go(const Projection *projection);

#endif
