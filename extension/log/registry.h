/*
 * registry.h
 *		The shared memory of layer log: one slot per backend, one entry per
 *		database.  Private to this layer and to the worker.
 */
#ifndef ECOMMERCE_LOG_REGISTRY_H
#define ECOMMERCE_LOG_REGISTRY_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/lwlock.h"

#include "log/position.h"

#define REGISTRY_DATABASES 64

/* What a transaction holds back under one key of one log. */
typedef struct RegistryHold
{
	pg_atomic_uint64 lowest;
	uint32		key;
	uint32		log;
	char		name[48];		/* cut off, for people to read */
} RegistryHold;

/* So many things a backend can wait for without being woken for others. */
#define REGISTRY_WAITS 8

/* One of them: a log, or a WaitFor, and a key of it. */
typedef struct RegistryWait
{
	uint32		log;
	uint32		key;
	uint32		mask;			/* bits of the key that count */
} RegistryWait;

/* Written by its backend alone, read by all. */
typedef struct RegistrySlot
{
	pg_atomic_uint64 lowest[LOG_COUNT]; /* 0: this transaction took no position */
	pg_atomic_uint64 overflow[LOG_COUNT];	/* more keys than holds: held back under any key */
	pg_atomic_uint32 database;	/* set while any of lowest is */
	pg_atomic_uint32 hold_count;
	pg_atomic_uint32 wait_database; /* set while the backend waits in wakeup.c */
	uint32		wait_count;
	RegistryWait waits[REGISTRY_WAITS];
	pg_atomic_uint32 restoring; /* database whose tables the session fills, see restore.c */
	TimestampTz restoring_since;
	uint64		announcements;	/* how many there were, by all backends that had the slot */
	RegistryHold holds[FLEXIBLE_ARRAY_MEMBER];
} RegistrySlot;

typedef struct RegistryLog
{
	pg_atomic_uint64 last;		/* at most the sequence's, at least any mark handed out */
	pg_atomic_uint64 lsn;		/* end of the newest commit that took positions */
	pg_atomic_uint64 standby_mark;	/* greatest mark handed out while a standby */
	Oid			sequence;		/* last counts for this sequence */
} RegistryLog;

/* The processes of a database; what runs in which is told in worker/README.md. */
typedef enum WorkerKind
{
	WORKER_MAIN,				/* notifications, the bus; starts the others */
	WORKER_RUNNER,				/* users' functions, quick ones */
	WORKER_SLOW_RUNNER,			/* and those that take their time */
	WORKER_KINDS
} WorkerKind;

typedef struct RegistryWorker
{
	pg_atomic_uint32 slot;		/* of the process + 1, 0: none */
	pg_atomic_uint32 wakes;		/* what it wants to be woken for, see wakeup.h */
	pg_atomic_uint64 due;		/* TimestampTz it sleeps until; see wakeup.h */
} RegistryWorker;

/* In worker_stop: the worker shall end and be started again, with new settings. */
#define WORKER_COME_BACK 2

typedef struct RegistryDatabase
{
	Oid			database;		/* InvalidOid: free */
	RegistryLog logs[LOG_COUNT];
	pg_atomic_uint32 restorers; /* sessions that fill its tables, see restore.c */
	pg_atomic_uint32 restores;	/* how many have ended */
	pg_atomic_uint32 waiting;	/* backends in wakeup.c */
	RegistryWorker workers[WORKER_KINDS];
	pg_atomic_uint32 worker_failed;	/* the main one runs, or ended without meaning to */
	pg_atomic_uint32 worker_stop;	/* how many want the database for themselves, or COME_BACK */
	pg_atomic_uint32 worker_wanted; /* the launcher shall start one */
	pg_atomic_uint32 connections;	/* how often a main one has connected */
} RegistryDatabase;

/* What failed again and again, see failure.c. */
#define REGISTRY_FAILURES 256

typedef struct RegistryFailure
{
	Oid			database;
	uint32		key;
	int64		position;		/* 0: somewhere up to upto */
	int64		upto;
	int			times;			/* 0: free */
} RegistryFailure;

typedef struct Registry
{
	LWLock		lock;			/* entries of databases */
	int			tranche;
	bool		preloaded;
	int			slot_count;
	int			slot_size;
	int			holds_per_slot;
	pg_atomic_uint32 launcher;	/* slot of the launcher + 1, 0: none */
	pg_atomic_uint32 rescan;	/* the launcher shall look at all databases again */
	pg_atomic_uint32 settings;	/* how often those of some database have been changed */
	pg_atomic_uint32 failure_count;
	RegistryFailure failures[REGISTRY_FAILURES];
	RegistryDatabase databases[REGISTRY_DATABASES];
	/* slots follow */
} Registry;

extern void registry_request(void);
extern void registry_attach(void);
extern Registry *registry(void);
extern RegistryDatabase *registry_database(Oid database, bool create);
extern RegistryDatabase *registry_my_database(void);
extern void registry_forget_database(Oid database);
extern RegistrySlot *registry_slot(int number);

#endif
