/*
 * position.h
 *		Positions of append-only logs, and the mark below which each is final.
 *
 * A log is a table whose rows carry positions from a sequence.  Positions are
 * taken before commit and commits come in another order, so a reader may only
 * go as far as the high-water mark: nothing can still appear at or below it.
 * A key divides a log (a category of events, a lane of an endpoint); a mark for
 * one key is held back only by transactions that wrote under that key.
 *
 * Writer, in this order, in one transaction:
 *		take the lock that orders writers of the same stream or lane, if any
 *		position_announce(log, key, name)
 *		position_take(log), once or more; insert the rows
 * Reader:
 *		mark = position_mark(log, key)
 *		take a new snapshot, then read rows up to the mark
 */
#ifndef ECOMMERCE_LOG_POSITION_H
#define ECOMMERCE_LOG_POSITION_H

#include "postgres.h"

#include "access/xlogdefs.h"
#include "utils/snapshot.h"

#include "pg/relation.h"

typedef enum LogId
{
	LOG_EVENT_STORE,
	LOG_MESSAGE_BUS,
	LOG_TABLES					/* users' own tables, see table_log.c */
} LogId;

#define LOG_COUNT 3

/* A key under which every transaction counts. */
#define POSITION_ANY_KEY 0

typedef struct LogDefinition
{
	ExtensionRelation *positions;	/* the sequence of positions */
	ExtensionRelation *published;	/* the sequence that carries the mark to standbys, or NULL */
	/* greatest position visible to a snapshot, NULL is a new one; or NULL */
	int64		(*newest) (Snapshot snapshot);
	/* readers keep their place in this database only; see position.c */
	bool		local;
} LogDefinition;

/* One row of event_store.appenders: who holds back what. */
typedef struct PositionHolder
{
	int			pid;
	uint32		key;
	int64		lowest;
	char		name[NAMEDATALEN];
} PositionHolder;

extern void position_log_define(LogId log, const LogDefinition *definition);
extern uint32 position_key(const char *name, int length);
extern void position_announce(LogId log, uint32 key, const char *name, int length);
extern int64 position_take(LogId log);
extern int64 position_mark(LogId log, uint32 key);
extern bool position_mark_nowait(LogId log, uint32 key, int64 *mark);
extern bool position_mark_durable(LogId log, uint32 key, long wait_ms, int64 *mark,
								  XLogRecPtr *lsn);
extern int	position_holders(LogId log, PositionHolder **holders);
extern int64 position_ended_since(LogId log, uint64 **running);
extern int64 position_counter(LogId log);
extern void position_raise(LogId log, int64 least);
extern int64 position_published(LogId log);
extern bool position_publish(LogId log, int64 mark);

#endif
