/*
 * note.c
 *		What this transaction remembers of the bus, to be told once it has committed.
 *
 * Lanes that must be looked at again, and what is done to shared memory then.
 * transaction.c calls the ends.  A crash forgets all, as does a rollback.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"

#include "log/restore.h"
#include "message_bus/know/lane.h"
#include "message_bus/know/note.h"

/* Something set aside, to be told to the lane after the commit. */
typedef struct DueNote
{
	const Endpoint *endpoint;
	int32		lane;			/* -1: one message less */
	TimestampTz due;
	SubTransactionId noted_in;
	struct DueNote *next;
} DueNote;

/* What is done to shared memory when this transaction has committed. */
typedef struct Effect
{
	void		(*run) (void *argument);
	void	   *argument;
	SubTransactionId noted_in;
	struct Effect *next;
} Effect;

static MemoryContext memory = NULL;
static Effect *effects = NULL;
static DueNote *due_notes = NULL;
static TimestampTz next_expiry = NEVER_DUE;
static bool active = false;
static uint32 generation = 0;	/* of what the tables hold, when it became active */

/*
 * This transaction uses the bus.  Not while a dump is being restored, nor from
 * before to after that.
 */
void
note_begin(void)
{
	if (active)
		return;
	restore_refuse_writing();
	generation = restore_generation();
	active = true;
}

/*
 * Fails if this transaction has used the bus before its tables were restored.
 */
void
note_check_restored(void)
{
	if (active)
		restore_check_unchanged(generation);
}

/*
 * Memory until the transaction's end.
 */
MemoryContext
note_memory(void)
{
	if (memory == NULL)
		memory = AllocSetContextCreate(TopTransactionContext, "message bus",
									   ALLOCSET_DEFAULT_SIZES);
	return memory;
}

/*
 * A lane must be looked at again at that time, once this transaction has
 * committed, unless the savepoint is rolled back.
 */
void
note_due(const Endpoint *endpoint, int32 lane, TimestampTz due)
{
	DueNote    *note;

	/* Now, so that nothing need be mapped when the transaction has committed. */
	if (lane >= 0)
		(void) lane_checked(endpoint, lane);
	note_begin();
	note = MemoryContextAlloc(note_memory(), sizeof(DueNote));
	note->endpoint = endpoint;
	note->lane = lane;
	note->due = due;
	note->noted_in = GetCurrentSubTransactionId();
	note->next = due_notes;
	due_notes = note;
}

/*
 * A message of the ring counts no more, though its lane's cursor has not
 * reached it, once this transaction has committed, unless the savepoint is rolled
 * back.
 */
void
note_settled(const Endpoint *endpoint)
{
	note_due(endpoint, -1, NEVER_DUE);
}

/*
 * A message that was set aside expires then, once this transaction has
 * committed.
 */
void
note_expiry(TimestampTz expires_at)
{
	note_begin();
	next_expiry = Min(next_expiry, expires_at);
}

/*
 * What is to be done to shared memory once this transaction has committed, unless
 * the savepoint is rolled back.  It must not be able to fail.
 */
void
note_at_commit(void (*run) (void *argument), void *argument)
{
	Effect	   *effect;

	note_begin();
	effect = MemoryContextAlloc(note_memory(), sizeof(Effect));
	effect->run = run;
	effect->argument = argument;
	effect->noted_in = GetCurrentSubTransactionId();
	effect->next = effects;
	effects = effect;
}

void
note_end_subtransaction(bool committed, SubTransactionId mine, SubTransactionId parent)
{
	/* The newest come first. */
	for (Effect *effect = effects; effect != NULL && effect->noted_in == mine;
		 effect = effect->next)
	{
		if (committed)
			effect->noted_in = parent;
		else
			effects = effect->next;
	}
	for (DueNote *note = due_notes; note != NULL && note->noted_in == mine; note = note->next)
	{
		if (committed)
			note->noted_in = parent;
		else
			due_notes = note->next;
	}
}

/*
 * Whether this transaction has used the bus.
 */
bool
note_active(void)
{
	return active;
}

/*
 * The transaction has ended: the lanes follow.
 */
void
note_end_transaction(bool committed)
{
	active = false;
	for (DueNote *note = due_notes; note != NULL && committed; note = note->next)
	{
		if (note->lane < 0)
			pg_atomic_fetch_sub_u64(&note->endpoint->shared->depth, 1);
		else
			lane_due_lower(lane_get(note->endpoint, note->lane), note->due);
	}
	if (committed && next_expiry != NEVER_DUE)
		lane_lower_worker(next_expiry);
	next_expiry = NEVER_DUE;
}

/*
 * After all others have done the same: what else was to be done.
 */
void
note_run_effects(bool committed)
{
	for (Effect *effect = effects; effect != NULL && committed; effect = effect->next)
		effect->run(effect->argument);
	effects = NULL;
	if (!committed)
		due_notes = NULL;
	memory = NULL;
}

/*
 * Others have heard of what has changed: whoever waits is woken.
 */
void
note_wake(bool committed)
{
	int32		last_woken = 0;

	for (DueNote *note = due_notes; note != NULL && committed; note = note->next)
	{
		int32		id = note->endpoint->id;

		if (id != last_woken)
			bus_wake_consumers(note->endpoint, 0);
		last_woken = id;
	}
	due_notes = NULL;
}
