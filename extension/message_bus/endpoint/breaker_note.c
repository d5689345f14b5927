/*
 * breaker_note.c
 *		What a transaction does to circuit breakers: outcomes of its deliveries,
 *		probes that it was handed, breakers that it closes.
 *
 * All of it is noted and happens in shared memory when the transaction has
 * committed, by code that allocates nothing; what a rollback, of a savepoint
 * too, has undone never happens.  A state that will change is written down in
 * the transaction: just before the commit the notes are applied to copies.  If
 * shared memory turns out otherwise, because others have committed in between,
 * the breaker is dirty and the worker writes it down.
 *
 * A probe is the one thing that happens at once: it must not be handed out twice.
 * It belongs to the transaction that was handed it, and goes back when that
 * ends however it ends; or to the lease that the transaction has committed, until
 * that ends or is settled in whatever way.
 *
 * Lock protocol: the endpoint's heavyweight lock of breakers from the writing of
 * a row to the end of the transaction; nobody takes it before all user code has
 * run.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "log/wakeup.h"
#include "message_bus/endpoint/breaker_note.h"
#include "message_bus/endpoint/breaker_table.h"
#include "message_bus/know/lane.h"
#include "message_bus/know/note.h"
#include "pg/clock.h"
#include "pg/lock.h"

typedef enum NoteKind
{
	NOTE_OUTCOME,
	NOTE_PROBE,					/* ours, or our lease's until then */
	NOTE_PROBE_UNTIL,			/* its lease ends then now */
	NOTE_CLOSE,
	NOTE_POLICY					/* another interval for those that are open */
} NoteKind;

typedef struct Note
{
	NoteKind	kind;
	const Endpoint *endpoint;
	const char *message_type;	/* NULL: all of the endpoint */
	BreakerPolicy policy;
	BreakerOutcome outcome;
	TimestampTz until;
	BusBreaker *breaker;		/* NULL: found just before the commit */
	SubTransactionId made_in;	/* invalid: rolled back */
	struct Note *next;
} Note;

/* A breaker as the notes will leave it. */
typedef struct Change
{
	const Endpoint *endpoint;
	BusBreaker *breaker;
	BusBreaker	will_be;
	struct Change *next;
} Change;

static Note *notes = NULL;
static Note **last_note = &notes;
static Change *changes = NULL;

static Note *add_note(NoteKind kind, const Endpoint *endpoint, const char *message_type);
static bool opens_at_commit(const Endpoint *endpoint, const char *message_type);
static void expand(const Note *all);
static Change *change_of(const Note *note);
static BreakerChange apply(const Note *note, BusBreaker *breaker);
static bool same_row(const BusBreaker *a, const BusBreaker *b);
static void give_probe_back(Note *note, TimestampTz until);

/*
 * Whether a message of that type may be delivered now, as this transaction sees
 * it.  A probe belongs to the transaction, or to its lease unless that ends at 0.
 */
BreakerAdmission
breaker_admit(const Endpoint *endpoint, const char *message_type, bool first_attempt,
			  TimestampTz now, TimestampTz leased_until)
{
	BreakerAdmission admission;
	Note	   *note;
	BusBreaker *probed = NULL;

	if (!endpoint->breaker.enabled)
		return BREAKER_ADMITS;
	if (unlikely(notes != NULL) && opens_at_commit(endpoint, message_type))
		return BREAKER_HOLDS;
	admission = breaker_looks(endpoint, message_type, first_attempt, now);
	if (likely(admission != BREAKER_ADMITS_PROBE))
		return admission;
	/* Before the probe is ours: nothing may fail then. */
	note = add_note(NOTE_PROBE, endpoint, message_type);
	note->until = leased_until;
	admission = breaker_admission(endpoint, message_type, first_attempt, now, &probed);
	note->breaker = probed;
	return admission;
}

/*
 * Whether a closed breaker will be open when this transaction commits.
 */
static bool
opens_at_commit(const Endpoint *endpoint, const char *message_type)
{
	BusBreaker	copy = {0};
	BusBreaker *breaker;
	bool		copied = false;

	for (Note *note = notes; note != NULL; note = note->next)
	{
		if (note->kind != NOTE_OUTCOME || !same_endpoint(note->endpoint, endpoint) ||
			note->made_in == InvalidSubTransactionId ||
			strcmp(note->message_type, message_type) != 0)
			continue;
		if (!copied)
		{
			LWLockAcquire(&endpoint->shared->lock, LW_SHARED);
			breaker = breaker_find(endpoint, message_type, false);
			if (breaker != NULL)
				copy = *breaker;
			LWLockRelease(&endpoint->shared->lock);
			copied = true;
		}
		(void) breaker_count(&copy, &note->policy, &note->outcome);
	}
	return copied && copy.state == BREAKER_OPEN;
}

static Note *
add_note(NoteKind kind, const Endpoint *endpoint, const char *message_type)
{
	Note	   *note = MemoryContextAllocZero(note_memory(), sizeof(Note));

	note_begin();
	note->kind = kind;
	note->endpoint = endpoint;
	note->policy = endpoint->breaker;
	if (message_type != NULL)
		note->message_type = MemoryContextStrdup(note_memory(), message_type);
	note->made_in = GetCurrentSubTransactionId();
	*last_note = note;
	last_note = &note->next;
	return note;
}

/*
 * Messages of that type have ended so.
 */
void
breaker_note_outcome(const Endpoint *endpoint, const char *message_type,
					 const BreakerOutcome *outcome)
{
	if (endpoint->breaker.enabled && (outcome->attempts > 0 || outcome->probe))
		add_note(NOTE_OUTCOME, endpoint, message_type)->outcome = *outcome;
}

/*
 * The lease of a probe ends at another time.
 */
void
breaker_note_probe_until(const Endpoint *endpoint, const char *message_type, TimestampTz until)
{
	add_note(NOTE_PROBE_UNTIL, endpoint, message_type)->until = until;
}

/*
 * Closes a breaker; false if there is none.
 */
bool
breaker_note_reset(const Endpoint *endpoint, const char *message_type)
{
	BusBreaker *breaker;

	LWLockAcquire(&endpoint->shared->lock, LW_SHARED);
	breaker = breaker_find(endpoint, message_type, false);
	LWLockRelease(&endpoint->shared->lock);
	if (breaker != NULL)
		add_note(NOTE_CLOSE, endpoint, message_type)->breaker = breaker;
	return breaker != NULL;
}

/*
 * The endpoint gets another policy: without one all its breakers close.
 */
void
breaker_note_policy(const Endpoint *endpoint, const BreakerPolicy *policy)
{
	add_note(policy->enabled ? NOTE_POLICY : NOTE_CLOSE, endpoint, NULL)->policy = *policy;
}

/*
 * Counts an outcome at once, for a process that ends.
 */
void
breaker_count_now(const Endpoint *endpoint, const char *message_type,
				  const BreakerOutcome *outcome)
{
	BusBreaker *breaker;
	BusBreaker	copy;
	BusBreakerState before;
	BreakerChange change;

	LWLockAcquire(&endpoint->shared->lock, LW_EXCLUSIVE);
	breaker = breaker_find(endpoint, message_type, true);
	before = breaker->state;
	change = breaker_count(breaker, &endpoint->breaker, outcome);
	breaker_count_tripped(endpoint, before, breaker->state);
	copy = *breaker;
	LWLockRelease(&endpoint->shared->lock);
	breaker_announce(endpoint, &endpoint->breaker, change, &copy, message_type);
}

/*
 * Works out what the notes will change, and writes it down.
 */
void
breaker_before_commit(void)
{
	for (Note *note = notes; note != NULL; note = note->next)
	{
		if (note->made_in == InvalidSubTransactionId || note->kind == NOTE_PROBE)
			continue;
		if (note->message_type == NULL)
			expand(note);
		else
			(void) apply(note, &change_of(note)->will_be);
	}
	for (Change *change = changes; change != NULL; change = change->next)
	{
		if (!change->will_be.dirty)
			continue;
		(void) lock_take(LOCK_BREAKER, change->endpoint->id, 0, ExclusiveLock,
						true);
		breaker_write_down(change->endpoint, change->breaker->message_type, &change->will_be);
	}
}

/*
 * Adds a note for each of the endpoint's breakers, to be come to later.
 */
static void
expand(const Note *all)
{
	for (BusBreaker *breaker = bus_breaker(all->endpoint->shared->breakers);
		 breaker != NULL; breaker = bus_breaker(breaker->next))
	{
		Note	   *note = MemoryContextAlloc(note_memory(), sizeof(Note));

		*note = *all;
		note->message_type = breaker->message_type;
		note->breaker = breaker;
		note->next = NULL;
		*last_note = note;
		last_note = &note->next;
	}
}

static Change *
change_of(const Note *note)
{
	Note	   *found = (Note *) note;
	Change	   *change;

	LWLockAcquire(&note->endpoint->shared->lock, LW_EXCLUSIVE);
	if (note->breaker == NULL)
		found->breaker = breaker_find(note->endpoint, note->message_type, true);
	LWLockRelease(&note->endpoint->shared->lock);
	for (change = changes; change != NULL; change = change->next)
	{
		if (change->breaker == note->breaker)
			return change;
	}
	change = MemoryContextAllocZero(note_memory(), sizeof(Change));
	change->endpoint = note->endpoint;
	change->breaker = note->breaker;
	LWLockAcquire(&note->endpoint->shared->lock, LW_SHARED);
	change->will_be = *note->breaker;
	LWLockRelease(&note->endpoint->shared->lock);
	change->next = changes;
	changes = change;
	return change;
}

/*
 * Does what a note says, to a breaker whose lock is held or to a copy.
 */
static BreakerChange
apply(const Note *note, BusBreaker *breaker)
{
	switch (note->kind)
	{
		case NOTE_OUTCOME:
			return breaker_count(breaker, &note->policy, &note->outcome);
		case NOTE_PROBE:
			break;
		case NOTE_PROBE_UNTIL:
			if (breaker->probe_until != 0)
				breaker->probe_until = note->until;
			break;
		case NOTE_CLOSE:
			return breaker_close(breaker);
		case NOTE_POLICY:
			if (breaker->state == BREAKER_OPEN)
			{
				breaker->retry_at = breaker->opened_at + note->policy.reset_interval;
				breaker->dirty = true;
			}
			break;
	}
	return BREAKER_UNCHANGED;
}

/*
 * A savepoint is released or rolled back.
 */
void
breaker_end_subtransaction(bool committed, SubTransactionId mine, SubTransactionId parent)
{
	for (Note *note = notes; note != NULL; note = note->next)
	{
		if (note->made_in != mine)
			continue;
		note->made_in = committed ? parent : InvalidSubTransactionId;
		if (!committed && note->kind == NOTE_PROBE && note->breaker != NULL)
			give_probe_back(note, 0);
	}
}

/*
 * Shared memory follows; probes go back, or to their leases.
 */
void
breaker_end_transaction(bool committed)
{
	for (Note *note = notes; note != NULL; note = note->next)
	{
		BusBreakerState before;
		BusBreaker	copy;
		BreakerChange change;

		if (note->breaker == NULL || note->made_in == InvalidSubTransactionId)
			continue;
		if (note->kind == NOTE_PROBE)
		{
			give_probe_back(note, committed ? note->until : 0);
			continue;
		}
		if (!committed)
			continue;
		LWLockAcquire(&note->endpoint->shared->lock, LW_EXCLUSIVE);
		before = note->breaker->state;
		change = apply(note, note->breaker);
		breaker_count_tripped(note->endpoint, before, note->breaker->state);
		copy = *note->breaker;
		LWLockRelease(&note->endpoint->shared->lock);
		breaker_announce(note->endpoint, &note->policy, change, &copy, note->message_type);
	}
	for (Change *change = changes; change != NULL && committed; change = change->next)
	{
		LWLockAcquire(&change->endpoint->shared->lock, LW_EXCLUSIVE);
		if (change->will_be.dirty && same_row(&change->will_be, change->breaker))
			change->breaker->dirty = false;
		LWLockRelease(&change->endpoint->shared->lock);
	}
	breaker_table_end_transaction(committed);
	notes = NULL;
	last_note = &notes;
	changes = NULL;
}

/*
 * Whether message_bus.breaker says the same of both; the counts of a window that
 * runs may go on.
 */
static bool
same_row(const BusBreaker *a, const BusBreaker *b)
{
	return a->state == b->state && a->opened_at == b->opened_at && a->retry_at == b->retry_at &&
		a->probe_successes == b->probe_successes;
}

/*
 * The probe is this process's no more; a lease has it until then, unless 0.
 */
static void
give_probe_back(Note *note, TimestampTz until)
{
	BusBreaker *breaker = note->breaker;

	LWLockAcquire(&note->endpoint->shared->lock, LW_EXCLUSIVE);
	if (breaker->probe_holder == MyProcPid)
	{
		breaker->probe_holder = 0;
		breaker->probe_until = until;
	}
	LWLockRelease(&note->endpoint->shared->lock);
	if (until == 0)
		bus_wake_consumers(note->endpoint, 0);
}
