/*
 * series.h
 *		Values over time, in memory: 1 s for 10 minutes, 10 s for 2 hours, 1 min for
 *		24 hours.
 */
#ifndef SERVICES_CONSOLE_SERIES_H
#define SERVICES_CONSOLE_SERIES_H

#include <stdint.h>

#include "lib/text.h"

void		series_put(const char *key, uint64_t second, double value);
bool		series_write(Text *target, const char *range, const char *prefix, uint64_t second);
int			series_count(void);
void		series_clear(void);

#endif
