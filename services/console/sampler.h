/*
 * sampler.h
 *		One look at the database every two seconds, for all browsers together.
 */
#ifndef SERVICES_CONSOLE_SAMPLER_H
#define SERVICES_CONSOLE_SAMPLER_H

#include "lib/service.h"
#include "lib/stream.h"

void		sampler_start(Runtime *runtime);
void		sampler_stop(void);
bool		sampler_sees_server(void);
void		sampler_subscribe(HttpCall *call, const void *owner);
void		sampler_drop(const void *owner);
void		sampler_write_metrics(Text *target);
void		sampler_answer(HttpCall *call, const char *range, const char *prefix);

#endif
