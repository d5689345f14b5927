/*
 * cache.h
 *		Memory of what a process remembers of tables.
 */
#ifndef ECOMMERCE_PG_CACHE_H
#define ECOMMERCE_PG_CACHE_H

#include "postgres.h"

extern void cache_begin(MemoryContext *cache, const char *name);
extern void *cache_alloc0(MemoryContext cache, Size size);

#endif
