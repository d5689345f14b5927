/*
 * worker.h
 *		The launcher and the processes of each database.
 */
#ifndef ECOMMERCE_WORKER_WORKER_H
#define ECOMMERCE_WORKER_WORKER_H

#include "postgres.h"

#include "postmaster/bgworker.h"

#include "log/registry.h"
#include "pg/duty.h"

#define WORKER_ROLE "ecommerce_worker"

/* process.c: what all of them do */
extern void worker_describe(BackgroundWorker *worker, Oid database, Oid role);
extern void worker_connect(Oid database, const char *name, const char *lock_timeout);
extern bool worker_enter(WorkerKind kind);
extern void worker_leave(void);
extern void worker_begin_turn(MemoryContext loop_context);
extern bool worker_shall_leave(void);
extern bool worker_may_work(void);
extern void worker_report(const char *what, const char *name);
extern void worker_tell_counters(DutyWish *wish);
extern void worker_sleep(WorkerKind kind, DutyWish *wish, uint32 *announced);

/* supervise.c */
extern void supervise_duty(DutyWish *wish);

/* runner.c */
extern void runner_describe(BackgroundWorker *worker, WorkerKind kind, int helper);
extern void runner_round(WorkerKind kind, bool only_messages, DutyWish *wish);

extern void worker_register_launcher(void);
extern void worker_install_utility_hook(void);

#endif
