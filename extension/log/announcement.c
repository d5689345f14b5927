/*
 * announcement.c
 *		What running transactions have announced to take from a log.
 *
 * Lock protocol: none but atomics.  A transaction first puts into its slot that
 * it is going to take a position, unsettled; full barrier; then settles it at
 * the lowest that can be: one above what the log gave out last.  A reader that
 * meets an unsettled announcement settles it itself rather than wait: the writer
 * takes his position later, so every value that last has meanwhile is right.
 *
 * Were lowest worked out first and put into the slot then, a writer that is
 * stopped in between could come with one below a mark that was handed out
 * meanwhile, and later marks would go back behind it.
 *
 * A crash leaves nothing behind; see position.c.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"

#include "base/debug_point.h"
#include "log/announcement.h"

/*
 * In an announcement: not settled yet.  The other bits number the announcement,
 * so that who settles it late does not settle a later one.
 */
#define UNSETTLED (UINT64CONST(1) << 63)

static int64 held_under_key(RegistrySlot *slot, LogId log, RegistryLog *shared, uint32 key);

/*
 * Announces in the slot of this backend, whose database is set, that positions
 * are going to be taken under a key.
 */
void
announcement_make(RegistrySlot *slot, LogId log, RegistryLog *shared, uint32 key, const char *name,
				  int length)
{
	pg_atomic_uint64 *own;		/* the announcement under this key */
	uint32		count = pg_atomic_read_u32(&slot->hold_count);
	uint64		unsettled;
	RegistryHold *hold = NULL;

	for (uint32 i = 0; i < count; i++)
	{
		if (slot->holds[i].key == key && slot->holds[i].log == log)
			return;
	}
	unsettled = DEBUG_BREAK("no_announce") ? PG_INT64_MAX : UNSETTLED | ++slot->announcements;
	if (count < registry()->holds_per_slot)
	{
		hold = &slot->holds[count];
		hold->key = key;
		hold->log = log;
		if (length >= (int) sizeof(hold->name))
			length = pg_mbcliplen(name, length, sizeof(hold->name) - 1);
		memcpy(hold->name, name, length);
		hold->name[length] = '\0';
		own = &hold->lowest;
	}
	else
		own = &slot->overflow[log];
	if (hold != NULL || pg_atomic_read_u64(own) == 0)
		pg_atomic_write_u64(own, unsettled);
	if (hold != NULL)
	{
		pg_write_barrier();
		pg_atomic_write_u32(&slot->hold_count, count + 1);
	}
	if (pg_atomic_read_u64(&slot->lowest[log]) == 0)
		pg_atomic_write_u64(&slot->lowest[log], unsettled);
	pg_memory_barrier();
	DEBUG_POINT("announcing");
	/* In this order: a slot is lowest of all that is announced in it. */
	(void) announcement_settled(slot, &slot->lowest[log], shared);
	(void) announcement_settled(slot, own, shared);
	pg_memory_barrier();
}

/*
 * Lowers a mark below whatever running transactions have announced.
 */
int64
announcement_limit(LogId log, RegistryLog *shared, uint32 key, int64 mark)
{
	for (int i = 0; i < registry()->slot_count; i++)
	{
		RegistrySlot *slot = registry_slot(i);
		uint64		lowest = announcement_lowest(slot, log, shared);
		int64		held;

		if (lowest == 0 || (int64) lowest > mark)
			continue;
		held = key == POSITION_ANY_KEY ? (int64) lowest : held_under_key(slot, log, shared, key);
		/* What a transaction that has ended meanwhile left there does not count. */
		if (held <= mark && pg_atomic_read_u64(&slot->lowest[log]) == lowest)
			mark = held - 1;
	}
	return mark;
}

/*
 * The lowest position that a slot's transaction may have taken under a key;
 * PG_INT64_MAX if none.
 */
static int64
held_under_key(RegistrySlot *slot, LogId log, RegistryLog *shared, uint32 key)
{
	uint64		overflow = announcement_settled(slot, &slot->overflow[log], shared);
	int64		lowest = overflow != 0 ? (int64) overflow : PG_INT64_MAX;
	uint32		hold_count = pg_atomic_read_u32(&slot->hold_count);

	pg_read_barrier();
	for (uint32 h = 0; h < Min(hold_count, registry()->holds_per_slot); h++)
	{
		RegistryHold *hold = &slot->holds[h];

		if (hold->key == key && hold->log == log)
		{
			uint64		held = announcement_settled(slot, &hold->lowest, shared);

			/* 0: the slot has changed hands. */
			if (held != 0)
				lowest = Min(lowest, (int64) held);
		}
	}
	pg_read_barrier();
	return lowest;
}

/*
 * The lowest position that a slot's transaction may have taken, 0 if there is
 * no such transaction in this database.
 */
uint64
announcement_lowest(RegistrySlot *slot, LogId log, RegistryLog *shared)
{
	uint64		lowest = announcement_settled(slot, &slot->lowest[log], shared);

	if (lowest == 0 || pg_atomic_read_u32(&slot->database) != MyDatabaseId)
		return 0;
	pg_read_barrier();
	/* It only changes when the transaction has ended. */
	return pg_atomic_read_u64(&slot->lowest[log]) == lowest ? lowest : 0;
}

/*
 * What an announcement has been settled at, 0 if there is none.  Settles it
 * where its writer has not come to that yet.
 */
uint64
announcement_settled(RegistrySlot *slot, pg_atomic_uint64 *announcement, RegistryLog *shared)
{
	uint64		lowest = pg_atomic_read_u64(announcement);

	while (unlikely((lowest & UNSETTLED) != 0))
	{
		uint64		next;

		pg_memory_barrier();
		/* The slot has changed hands: that is no concern of this database's log. */
		if (pg_atomic_read_u32(&slot->database) != MyDatabaseId)
			return 0;
		next = pg_atomic_read_u64(&shared->last) + 1;
		/* Fails, and reads what there is, if somebody else was first. */
		if (pg_atomic_compare_exchange_u64(announcement, &lowest, next))
			lowest = next;
	}
	return lowest;
}
