/*
 * guard.h
 *		How long somebody who has given wrong passwords waits before the next try.
 */
#ifndef SERVICES_CONSOLE_GUARD_H
#define SERVICES_CONSOLE_GUARD_H

#include <stdint.h>

long		guard_wait(const char *role, const char *address, uint64_t now);
void		guard_begin(const char *role, const char *address, uint64_t now);
void		guard_take_back(const char *role, const char *address);
void		guard_succeeded(const char *role, const char *address);
void		guard_clear(void);

#endif
