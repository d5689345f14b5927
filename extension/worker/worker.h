/*
 * worker.h
 *		The launcher and the worker of each database.
 */
#ifndef ECOMMERCE_WORKER_WORKER_H
#define ECOMMERCE_WORKER_WORKER_H

#include "postgres.h"

#include "postmaster/bgworker.h"

#define WORKER_ROLE "ecommerce_worker"

extern void worker_register_launcher(void);
extern void worker_describe(BackgroundWorker *worker, Oid database, Oid role);
extern void worker_connect(Oid database);
extern void worker_begin_turn(MemoryContext loop_context);
extern void worker_install_utility_hook(void);

#endif
