/*
 * pool.h
 *		A few connections shared by many short batches.
 */
#ifndef SERVICES_LIB_POOL_H
#define SERVICES_LIB_POOL_H

#include "lib/session.h"

typedef EcommercePool Pool;

Pool	   *pool_open(const SessionOptions *template, int size, int max_waiting);
bool		pool_run(Pool *pool, const PgStep *steps, int nsteps, long deadline_ms, PgDone done,
					 void *argument);
int			pool_ready(const Pool *pool);
int			pool_busy(const Pool *pool);
int			pool_waiting(const Pool *pool);
void		pool_renew(Pool *pool);
void		pool_close(Pool *pool);

#endif
