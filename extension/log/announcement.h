/*
 * announcement.h
 *		What running transactions have announced to take from a log.  Private to
 *		this layer.
 */
#ifndef ECOMMERCE_LOG_ANNOUNCEMENT_H
#define ECOMMERCE_LOG_ANNOUNCEMENT_H

#include "log/registry.h"

extern void announcement_make(RegistrySlot *slot, LogId log, RegistryLog *shared, uint32 key,
							  const char *name, int length);
extern int64 announcement_limit(LogId log, RegistryLog *shared, uint32 key, int64 mark);
extern uint64 announcement_lowest(RegistrySlot *slot, LogId log, RegistryLog *shared);
extern uint64 announcement_settled(RegistrySlot *slot, pg_atomic_uint64 *announcement,
								   RegistryLog *shared);

#endif
