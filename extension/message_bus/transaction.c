/*
 * transaction.c
 *		What the bus does when a transaction or a savepoint ends.
 *
 * Before the commit: messages sent are written, then the cursors of lanes and
 * the outcomes of deliveries.  After it, when the transaction has left the
 * ProcArray and still holds its locks: shared memory follows, then whoever
 * waits is woken.
 *
 * Nothing can fail after it: memory has been allocated, and mapped, before; no entry
 * is looked up or removed in tables that may have grown elsewhere.  LWLocks are taken
 * there, but those of structures that this process has used, with no other one held;
 * taking one allocates nothing.
 *
 * A crash between the two clears shared memory anyway.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/trigger.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "log/restore.h"
#include "log/wakeup.h"
#include "message_bus/aside.h"
#include "message_bus/breaker_note.h"
#include "message_bus/death.h"
#include "message_bus/due.h"
#include "message_bus/endpoint.h"
#include "message_bus/held.h"
#include "message_bus/lease_note.h"
#include "message_bus/outbox.h"
#include "message_bus/transaction.h"
#include "pg/callbacks.h"

/* Something set aside, to be told to the lane after the commit. */
typedef struct DueNote
{
	BusEndpoint *endpoint;
	int32		lane;			/* -1: one message less */
	TimestampTz due;
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

static void effects_end_subtransaction(bool committed, SubTransactionId mine,
									   SubTransactionId parent);
static void transaction_ended(XactEvent event, void *arg);
static void before_commit(void);
static void refuse_prepare(void);
static void after_end(bool committed);
static void subtransaction_ended(SubXactEvent event, SubTransactionId mine,
								 SubTransactionId parent, void *arg);

/*
 * Registers for the ends of transactions.  From _PG_init.
 */
void
transaction_init(void)
{
	callback_on_transaction(transaction_ended);
	callback_on_savepoint(subtransaction_ended);
}

/*
 * This transaction uses the bus.  Not while a dump is being restored, nor from
 * before to after that.
 */
void
transaction_begin(void)
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
transaction_check_restored(void)
{
	if (active)
		restore_check_unchanged(generation);
}

/*
 * Memory until the transaction's end.
 */
MemoryContext
transaction_memory(void)
{
	if (memory == NULL)
		memory = AllocSetContextCreate(TopTransactionContext, "message bus",
									   ALLOCSET_DEFAULT_SIZES);
	return memory;
}

/*
 * A lane must be looked at again at that time, once this transaction has
 * committed.  If the savepoint is rolled back the look is in vain.
 */
void
transaction_note_due(BusEndpoint *endpoint, int32 lane, TimestampTz due)
{
	DueNote    *note;

	/* Now, so that nothing need be mapped when the transaction has committed. */
	if (lane >= 0)
		(void) bus_lane(endpoint, lane);
	transaction_begin();
	note = MemoryContextAlloc(transaction_memory(), sizeof(DueNote));
	note->endpoint = endpoint;
	note->lane = lane;
	note->due = due;
	note->next = due_notes;
	due_notes = note;
}

/*
 * A message of the ring counts no more, though its lane's cursor has not
 * reached it, once this transaction has committed.
 */
void
transaction_note_settled(BusEndpoint *endpoint)
{
	transaction_note_due(endpoint, -1, NEVER_DUE);
}

/*
 * A message that was set aside expires then, once this transaction has
 * committed.
 */
void
transaction_note_expiry(TimestampTz expires_at)
{
	transaction_begin();
	next_expiry = Min(next_expiry, expires_at);
}

/*
 * What is to be done to shared memory once this transaction has committed, unless
 * the savepoint is rolled back.  It must not be able to fail.
 */
void
transaction_at_commit(void (*run) (void *argument), void *argument)
{
	Effect	   *effect;

	transaction_begin();
	effect = MemoryContextAlloc(transaction_memory(), sizeof(Effect));
	effect->run = run;
	effect->argument = argument;
	effect->noted_in = GetCurrentSubTransactionId();
	effect->next = effects;
	effects = effect;
}

static void
effects_end_subtransaction(bool committed, SubTransactionId mine, SubTransactionId parent)
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
}

static void
transaction_ended(XactEvent event, void *arg)
{
	if (!active)
		return;
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			before_commit();
			break;
		case XACT_EVENT_PRE_PREPARE:
			refuse_prepare();
			break;
		case XACT_EVENT_COMMIT:
			after_end(true);
			break;
		case XACT_EVENT_ABORT:
			after_end(false);
			break;
		default:
			break;
	}
}

static void
before_commit(void)
{
	restore_check_unchanged(generation);
	/* Portals are closed, and their snapshots gone; TOAST wants one. */
	PushActiveSnapshot(GetTransactionSnapshot());
	(void) outbox_flush();
	held_before_commit();
	lease_before_commit();
	breaker_before_commit();
	/* PostgreSQL has had its turn of deferred triggers; now come those on our tables. */
	do
		AfterTriggerFireDeferred();
	while (outbox_flush());
	PopActiveSnapshot();
}

static void
refuse_prepare(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot PREPARE a transaction that has used the message bus"),
			 errhint("Type COMMIT, or use the bus from the transaction manager's own transaction.")));
}

static void
after_end(bool committed)
{
	TimestampTz at = GetCurrentTransactionStopTimestamp();
	int32		last_woken = 0;

	active = false;
	for (DueNote *note = due_notes; note != NULL && committed; note = note->next)
	{
		if (note->lane < 0)
			pg_atomic_fetch_sub_u64(&note->endpoint->depth, 1);
		else
			lane_due_lower(&bus_lanes(note->endpoint)[note->lane], note->due);
	}
	if (committed && next_expiry != NEVER_DUE)
		aside_lower_worker(next_expiry);
	next_expiry = NEVER_DUE;
	outbox_end_transaction(committed, at);
	held_end_transaction(committed, at);
	lease_end_transaction(committed, at);
	death_end_transaction(committed);
	breaker_end_transaction(committed);
	due_end_transaction(committed);
	for (Effect *effect = effects; effect != NULL && committed; effect = effect->next)
		effect->run(effect->argument);
	effects = NULL;
	for (DueNote *note = due_notes; note != NULL && committed; note = note->next)
	{
		int32		id = note->endpoint->key.endpoint_id;

		if (id != last_woken)
			bus_wake_consumers(note->endpoint, 0);
		last_woken = id;
	}
	due_notes = NULL;
	memory = NULL;
}

static void
subtransaction_ended(SubXactEvent event, SubTransactionId mine,
					 SubTransactionId parent, void *arg)
{
	bool		committed = event == SUBXACT_EVENT_COMMIT_SUB;

	if (!active || (!committed && event != SUBXACT_EVENT_ABORT_SUB))
		return;
	due_end_subtransaction(committed, mine, parent);
	effects_end_subtransaction(committed, mine, parent);
	death_end_subtransaction(committed, mine, parent);
	outbox_end_subtransaction(committed, mine, parent);
	held_end_subtransaction(committed, mine, parent);
	breaker_end_subtransaction(committed, mine, parent);
}
