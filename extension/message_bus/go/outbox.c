/*
 * outbox.c
 *		What this transaction has sent, until it commits.
 *
 * Messages are written just before the commit, all at once: positions are then
 * held for microseconds, so a long transaction holds no reader back, and rows
 * that go together are cheaper than one by one.  What a rolled-back savepoint
 * has sent is dropped here and never written.
 *
 * Message ids that the caller chose are claimed in shared memory while the
 * transaction runs; a second sender of the same id waits for its end.  Ids
 * that we made are known to nobody before the call returns and are not claimed.
 *
 * A claim is taken back when this process next sends, or ends: the shared table may
 * have grown into memory that is not mapped here, and at the end of a transaction
 * nothing may fail.  Until then whoever wants the id finds that its owner has ended.
 *
 * Lock protocol: no locks but the claims; two transactions that claim two ids
 * in opposite order deadlock, and PostgreSQL's detector ends one.
 *
 * A crash, like a rollback, leaves nothing.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/uuid.h"

#include "base/debug_point.h"
#include "base/errors.h"
#include "log/position.h"
#include "log/wakeup.h"
#include "message_bus/go/outbox.h"
#include "message_bus/know/database.h"
#include "message_bus/know/lane.h"
#include "message_bus/know/note.h"
#include "message_bus/place/dead.h"
#include "message_bus/place/ring.h"
#include "message_bus/place/row.h"

/* Written early beyond this, if no savepoint forbids it. */
#define EARLY_FLUSH_BYTES (8 * 1024 * 1024)

typedef struct OutboxEntry
{
	HeapTuple	row;			/* NULL: only a claim, or a reservation */
	const Endpoint *endpoint;
	int32		lane;
	SubTransactionId sent_in;
	TimestampTz expires_at;		/* NEVER_DUE: never */
	bool		claimed;
	bool		reserved;
	pg_uuid_t	message_id;
} OutboxEntry;

static OutboxEntry *entries = NULL;
static int	entry_count = 0;
static int	entry_room = 0;
static int	first_unwritten = 0;
static Size unwritten_bytes = 0;

/* Claims to be taken back, with room for all that this transaction has. */
typedef struct Release
{
	int32		endpoint_id;
	pg_uuid_t	message_id;
	VirtualTransactionId owner;
} Release;

static Release *releases = NULL;
static int	release_count = 0;
static int	release_room = 0;
static int	claim_count = 0;		/* of this transaction, not among them */
static VirtualTransactionId claim_owner;	/* this transaction */

static OutboxEntry *new_entry(const Endpoint *endpoint);
static void make_room_for_claim(void);
static void note_release(const OutboxEntry *entry);
static void take_claims_back(void);
static void take_claims_back_at_exit(int code, Datum arg);
static void write_row(OutboxEntry *entry, const RowValues *row);
static OutboxEntry *reserve(const Endpoint *endpoint, bool beyond_depth);
static void announce(const OutboxEntry *entry);
static void forget_entry(OutboxEntry *entry);

/*
 * Claims a message id for an endpoint until the transaction ends, waiting for
 * whoever else is sending it.  False if this transaction has claimed it.
 */
bool
outbox_claim(const Endpoint *endpoint, const pg_uuid_t *message_id)
{
	VirtualTransactionId owner;
	VirtualTransactionId waited_for = {0};
	VirtualTransactionId mine;
	OutboxEntry *entry;

	GET_VXID_FROM_PGPROC(mine, *MyProc);
	take_claims_back();
	make_room_for_claim();
	while (!bus_claim(endpoint->id, message_id, &owner))
	{
		if (DEBUG_BREAK("bus_no_claim"))
			break;
		if (VirtualTransactionIdEquals(owner, mine))
			return false;
		/* Its end removes the claim; if it did not, nobody else will. */
		if (VirtualTransactionIdEquals(owner, waited_for))
			bus_unclaim(endpoint->id, message_id, &owner);
		else
			(void) VirtualXactLock(owner, true);
		waited_for = owner;
	}
	entry = new_entry(endpoint);
	entry->claimed = true;
	entry->message_id = *message_id;
	claim_owner = mine;
	claim_count++;
	return true;
}

static void
make_room_for_claim(void)
{
	static bool registered = false;
	int			needed = release_count + claim_count + 1;

	if (!registered)
		before_shmem_exit(take_claims_back_at_exit, (Datum) 0);
	registered = true;
	if (needed <= release_room)
		return;
	if (releases == NULL)
		releases = MemoryContextAllocHuge(TopMemoryContext, sizeof(Release) * 64);
	else
		releases = repalloc_huge(releases, sizeof(Release) * release_room * 2);
	release_room = Max(release_room * 2, 64);
}

/*
 * At the end of a transaction or savepoint; cannot fail.
 */
static void
note_release(const OutboxEntry *entry)
{
	Release    *release = &releases[release_count++];

	release->endpoint_id = entry->endpoint->id;
	release->message_id = entry->message_id;
	release->owner = claim_owner;
	claim_count--;
}

static void
take_claims_back(void)
{
	while (release_count > 0)
	{
		Release    *release = &releases[release_count - 1];

		bus_unclaim(release->endpoint_id, &release->message_id, &release->owner);
		release_count--;
	}
	/* One large transaction does not hold memory for ever. */
	if (unlikely(release_room > 1024) && claim_count == 0)
	{
		releases = repalloc_huge(releases, sizeof(Release) * 64);
		release_room = 64;
	}
}

/*
 * A transaction that is open then cannot commit any more.
 */
static void
take_claims_back_at_exit(int code, Datum arg)
{
	for (int i = 0; i < entry_count; i++)
	{
		if (entries[i].claimed)
			note_release(&entries[i]);
		entries[i].claimed = false;
	}
	take_claims_back();
}

/*
 * Claims a message id; false if the endpoint has that message already.  One that
 * was discarded is given up for a new one.
 */
bool
outbox_is_new(const Endpoint *endpoint, const pg_uuid_t *message_id)
{
	pg_uuid_t	id = *message_id;

	return outbox_claim(endpoint, message_id) && !ring_has_message(endpoint, &id) &&
		!aside_has_message(endpoint, &id) && dead_gives_way(endpoint, &id);
}

/*
 * The same for many, which costs much less than one by one.
 */
void
outbox_are_new(const Endpoint *endpoint, const pg_uuid_t *message_ids, int count, bool *are_new)
{
	bool	   *known = palloc0(sizeof(bool) * count);
	bool	   *dead = palloc0(sizeof(bool) * count);

	/* All of them before the first look: who had one of the ids has ended then. */
	for (int i = 0; i < count; i++)
		known[i] = !outbox_claim(endpoint, &message_ids[i]);
	ring_find_messages(endpoint, message_ids, count, known);
	aside_find_messages(endpoint, message_ids, count, known);
	dead_find_messages(endpoint, message_ids, count, dead);
	for (int i = 0; i < count; i++)
	{
		pg_uuid_t	id = message_ids[i];

		are_new[i] = !known[i] && (!dead[i] || dead_gives_way(endpoint, &id));
	}
	pfree(known);
	pfree(dead);
}

/*
 * Takes a place in an endpoint that may limit its depth; MB002 if there is none,
 * unless the message goes beyond it.
 */
static OutboxEntry *
reserve(const Endpoint *endpoint, bool beyond_depth)
{
	int			max_depth = beyond_depth ? -1 : endpoint_max_depth(endpoint);
	BusEndpoint *shared = endpoint->shared;
	OutboxEntry *entry = new_entry(endpoint);
	uint64		reserved = pg_atomic_add_fetch_u64(&shared->reserved, 1);

	entry->reserved = true;
	if (unlikely(max_depth >= 0) &&
		/* Signed: what was miscounted once is no full endpoint. */
		(int64) (pg_atomic_read_u64(&shared->depth) + reserved) > max_depth)
	{
		forget_entry(entry);
		entry_count--;
		ereport(ERROR,
				(errcode(ERRCODE_MB_DEPTH_EXCEEDED),
				 errmsg("endpoint \"%s\" is full", endpoint->name),
				 errdetail("It holds as many messages as max_depth allows: %d.", max_depth),
				 errhint("Send again later, add consumers, or raise it with message_bus.alter_endpoint(%s, max_depth => ...).",
						 quote_literal_cstr(endpoint->name))));
	}
	return entry;
}

/*
 * Adds a message, to be written before the commit; MB002 if the endpoint is
 * full, unless it goes beyond the depth.
 */
void
outbox_add(const Endpoint *endpoint, RowValues *row, bool beyond_depth)
{
	OutboxEntry *entry = reserve(endpoint, beyond_depth);

	entry->lane = DatumGetInt32(row->values[ROW_LANE]);
	if (!row->nulls[ROW_EXPIRES_AT])
		entry->expires_at = DatumGetTimestampTz(row->values[ROW_EXPIRES_AT]);
	write_row(entry, row);
	if (unwritten_bytes > EARLY_FLUSH_BYTES && GetCurrentTransactionNestLevel() == 1)
		(void) outbox_flush();
}

/*
 * Adds a row that nobody will receive, so that its message id stays known as
 * long as the ring keeps it.
 */
void
outbox_remember(const Endpoint *endpoint, const RowValues *row)
{
	OutboxEntry *entry = new_entry(endpoint);

	entry->lane = DatumGetInt32(row->values[ROW_LANE]);
	if (!row->nulls[ROW_EXPIRES_AT])
		entry->expires_at = DatumGetTimestampTz(row->values[ROW_EXPIRES_AT]);
	write_row(entry, row);
}

static void
write_row(OutboxEntry *entry, const RowValues *row)
{
	MemoryContext old = MemoryContextSwitchTo(note_memory());

	entry->row = heap_form_tuple(ring_descriptor(), (Datum *) row->values, (bool *) row->nulls);
	MemoryContextSwitchTo(old);
	unwritten_bytes += entry->row->t_len;
}

static OutboxEntry *
new_entry(const Endpoint *endpoint)
{
	OutboxEntry *entry;

	note_begin();
	if (unlikely(release_count > 0))
		take_claims_back();
	if (entry_count == entry_room)
	{
		entry_room = Max(entry_room * 2, 64);
		if (entries == NULL)
			entries = MemoryContextAlloc(note_memory(), sizeof(OutboxEntry) * entry_room);
		else
			entries = repalloc_huge(entries, sizeof(OutboxEntry) * entry_room);
	}
	entry = &entries[entry_count++];
	memset(entry, 0, sizeof(*entry));
	entry->endpoint = endpoint;
	entry->expires_at = NEVER_DUE;
	entry->sent_in = GetCurrentSubTransactionId();
	return entry;
}

/*
 * Writes what is not written yet: announces all lanes, takes positions in the
 * order of sending, inserts.  False if there was nothing to write.
 */
bool
outbox_flush(void)
{
	int			count = 0;
	int			end = entry_count;
	const OutboxEntry *announced = NULL;
	HeapTuple  *rows;

	if (unwritten_bytes == 0)
		return false;
	rows = palloc(sizeof(HeapTuple) * (end - first_unwritten));
	for (int i = first_unwritten; i < end; i++)
	{
		const OutboxEntry *entry = &entries[i];

		if (entry->row == NULL || entry->lane < 0)
			continue;
		if (announced == NULL || announced->lane != entry->lane ||
			!same_endpoint(announced->endpoint, entry->endpoint))
			announce(entry);
		announced = entry;
	}
	for (int i = first_unwritten; i < end; i++)
	{
		OutboxEntry *entry = &entries[i];
		HeapTuple	row = entry->row;
		int64		position;

		if (row == NULL)
			continue;
		entry->row = NULL;
		unwritten_bytes -= row->t_len;
		rows[count++] = row;
		if (entry->lane < 0)
			continue;
		position = position_take(LOG_MESSAGE_BUS);
		atomic_raise(&lane_get(entry->endpoint, entry->lane)->tail, (uint64) position);
		memcpy((char *) row->t_data + row->t_data->t_hoff, &position, sizeof(position));
	}
	/* A trigger that somebody has put on the ring may send: that is the next turn's. */
	first_unwritten = end;
	ring_insert(rows, count);
	for (int i = 0; i < count; i++)
		heap_freetuple(rows[i]);
	pfree(rows);
	return true;
}

static void
announce(const OutboxEntry *entry)
{
	char		name[sizeof("endpoint ") + sizeof(" lane ") + 2 * sizeof("-2147483648")];
	char	   *end = name;
	int32		id = entry->endpoint->id;

	/* For each message: printf() would cost several times as much as the rest. */
	end = stpcpy(end, "endpoint ");
	end += pg_ltoa(id, end);
	end = stpcpy(end, " lane ");
	end += pg_ltoa(entry->lane, end);
	position_announce(LOG_MESSAGE_BUS, lane_key(id, entry->lane), name, (int) (end - name));
}

/*
 * Counts what was sent, if it was, and gives claims and reservations back.
 * Memory goes with the transaction's.
 */
void
outbox_end_transaction(bool committed, TimestampTz at)
{
	int			first = 0;
	uint32		wakes = 0;

	while (first < entry_count)
	{
		BusEndpoint *endpoint = entries[first].endpoint->shared;
		uint32		sent = 0;
		bool		has_news;
		int			i;

		for (i = first; i < entry_count && entries[i].endpoint->shared == endpoint; i++)
		{
			sent += entries[i].reserved;
			if (committed && entries[i].expires_at != NEVER_DUE)
				database_lower_expiry(entries[i].expires_at);
			if (entries[i].claimed)
				note_release(&entries[i]);
		}
		if (committed && sent > 0)
		{
			pg_atomic_fetch_add_u64(&endpoint->depth, sent);
			rate_add(&endpoint->sent, at, sent);
			has_news = bus_has_news(endpoint);
			/* A runner tells the listeners' worker when it has had its look. */
			if (pg_atomic_read_u32(&endpoint->served) != 0)
				wakes |= wakeup_runner_is_there() ? WAKE_FOR_SAGAS : WAKE_FOR_LOG(LOG_MESSAGE_BUS);
			else if (has_news)
				wakes |= WAKE_FOR_LOG(LOG_MESSAGE_BUS);
		}
		if (sent > 0)
			pg_atomic_fetch_sub_u64(&endpoint->reserved, sent);
		first = i;
	}
	entries = NULL;
	entry_count = entry_room = first_unwritten = 0;
	unwritten_bytes = 0;
	/* Not before it can see why. */
	pg_memory_barrier();
	if (wakes != 0)
		wakeup_worker(wakes);
}

/*
 * A savepoint is released or rolled back: what was sent since is its parent's,
 * or gone.
 */
void
outbox_end_subtransaction(bool committed, SubTransactionId mine, SubTransactionId parent)
{
	int			kept = entry_count;

	while (kept > 0 && entries[kept - 1].sent_in >= mine)
	{
		OutboxEntry *entry = &entries[--kept];

		if (committed)
			entry->sent_in = parent;
		else
		{
			if (entry->row != NULL)
				unwritten_bytes -= entry->row->t_len;
			forget_entry(entry);
		}
	}
	if (!committed)
	{
		entry_count = kept;
		first_unwritten = Min(first_unwritten, kept);
	}
}

static void
forget_entry(OutboxEntry *entry)
{
	if (entry->claimed)
		note_release(entry);
	if (entry->reserved)
		pg_atomic_fetch_sub_u64(&entry->endpoint->shared->reserved, 1);
}
