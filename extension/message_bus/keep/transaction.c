/*
 * transaction.c
 *		What the bus does when a transaction or a savepoint ends.
 *
 * Before the commit: messages sent are written, then the cursors of lanes and
 * the outcomes of deliveries.  After it, when the transaction has left the
 * ProcArray and still holds its locks: shared memory follows.  When others have
 * heard of what it has changed, whoever waits is woken.
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
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/debug_point.h"
#include "message_bus/endpoint/breaker_note.h"
#include "message_bus/endpoint/death.h"
#include "message_bus/go/held.h"
#include "message_bus/go/lease_note.h"
#include "message_bus/go/outbox.h"
#include "message_bus/keep/due.h"
#include "message_bus/keep/transaction.h"
#include "message_bus/know/note.h"
#include "pg/callbacks.h"

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
	callback_on_end(note_wake);
}

static void
transaction_ended(XactEvent event, void *arg)
{
	if (!note_active())
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
	note_check_restored();
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

	note_end_transaction(committed);
	outbox_end_transaction(committed, at);
	held_end_transaction(committed, at);
	lease_end_transaction(committed, at);
	death_end_transaction(committed);
	breaker_end_transaction(committed);
	due_end_transaction(committed);
	note_run_effects(committed);
	if (committed)
		DEBUG_POINT("bus_committed");
}

static void
subtransaction_ended(SubXactEvent event, SubTransactionId mine,
					 SubTransactionId parent, void *arg)
{
	bool		committed = event == SUBXACT_EVENT_COMMIT_SUB;

	if (!note_active() || (!committed && event != SUBXACT_EVENT_ABORT_SUB))
		return;
	due_end_subtransaction(committed, mine, parent);
	note_end_subtransaction(committed, mine, parent);
	death_end_subtransaction(committed, mine, parent);
	outbox_end_subtransaction(committed, mine, parent);
	held_end_subtransaction(committed, mine, parent);
	lease_end_subtransaction(committed, mine, parent);
	breaker_end_subtransaction(committed, mine, parent);
}
