/*
 * failure.h
 *		What failed again and again, counted where no rollback undoes it.
 */
#ifndef ECOMMERCE_LOG_FAILURE_H
#define ECOMMERCE_LOG_FAILURE_H

#include "postgres.h"

extern void failure_count(uint32 key, int64 position);
extern void failure_suspect(uint32 key, int64 upto);
extern int	failure_times(uint32 key, int64 position);
extern int64 failure_suspected_upto(uint32 key);
extern void failure_forget(uint32 key, int64 upto);
extern void failure_forget_all(uint32 first, uint32 count);
extern void failure_forget_one(uint32 key, int64 position);

#endif
