/*
 * projection_control.h
 *		What the functions that control a projection begin with.
 */
#ifndef ECOMMERCE_EVENT_STORE_PROJECTION_PROJECTION_CONTROL_H
#define ECOMMERCE_EVENT_STORE_PROJECTION_PROJECTION_CONTROL_H

#include "postgres.h"

#include "fmgr.h"

#include "event_store/projection/projection.h"
#include "event_store/projection/projection_progress.h"

extern Projection *control_lock_argument(FunctionCallInfo fcinfo, ProjectionProgress *progress);
extern void control_changed(const Projection *projection);
extern void control_refuse_shared_tables(Datum name);

#endif
