/*
 * projection_trial.h
 *		Giving events to a handler as far as it can take them.
 */
#ifndef ECOMMERCE_EVENT_STORE_PROJECTION_PROJECTION_TRIAL_H
#define ECOMMERCE_EVENT_STORE_PROJECTION_PROJECTION_TRIAL_H

#include "postgres.h"

#include "event_store/projection/projection_progress.h"

extern bool projection_try(ProjectionRun *run, ProjectionProgress *progress, bool *failed);

#endif
