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

typedef struct Letter
{
	HeapTuple	row;			/* NULL: only a claim, or a reservation */
	BusEndpoint *endpoint;
	int32		lane;
	SubTransactionId sent_in;
	TimestampTz expires_at;		/* NEVER_DUE: never */
	bool		claimed;
	bool		reserved;
	pg_uuid_t	message_id;
} Letter;

static Letter *letters = NULL;
static int	letter_count = 0;
static int	letter_room = 0;
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

static Letter *new_letter(BusEndpoint *endpoint);
static void make_room_for_claim(void);
static void note_release(const Letter *letter);
static void take_claims_back(void);
static void take_claims_back_at_exit(int code, Datum arg);
static void write_row(Letter *letter, const RowValues *row);
static Letter *reserve(const Endpoint *endpoint, bool beyond_depth);
static void announce(Letter *letter);
static void forget_letter(Letter *letter);

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
	Letter	   *letter;

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
	letter = new_letter(endpoint->shared);
	letter->claimed = true;
	letter->message_id = *message_id;
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
note_release(const Letter *letter)
{
	Release    *release = &releases[release_count++];

	release->endpoint_id = letter->endpoint->key.endpoint_id;
	release->message_id = letter->message_id;
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
	for (int i = 0; i < letter_count; i++)
	{
		if (letters[i].claimed)
			note_release(&letters[i]);
		letters[i].claimed = false;
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

	return outbox_claim(endpoint, message_id) && !ring_has_message(endpoint->id, &id) &&
		!aside_has_message(endpoint->id, &id) && dead_gives_way(endpoint->id, &id);
}

/*
 * Takes a place in an endpoint that may limit its depth; MB002 if there is none,
 * unless the message goes beyond it.
 */
static Letter *
reserve(const Endpoint *endpoint, bool beyond_depth)
{
	int			max_depth = beyond_depth ? -1 : endpoint_max_depth(endpoint);
	BusEndpoint *shared = endpoint->shared;
	Letter	   *letter = new_letter(shared);
	uint64		reserved = pg_atomic_add_fetch_u64(&shared->reserved, 1);

	letter->reserved = true;
	if (unlikely(max_depth >= 0) &&
		pg_atomic_read_u64(&shared->depth) + reserved > (uint64) max_depth)
	{
		forget_letter(letter);
		letter_count--;
		ereport(ERROR,
				(errcode(ERRCODE_MB_DEPTH_EXCEEDED),
				 errmsg("endpoint \"%s\" is full", endpoint->name),
				 errdetail("It holds as many messages as max_depth allows: %d.", max_depth),
				 errhint("Send again later, add consumers, or raise it with message_bus.alter_endpoint(%s, max_depth => ...).",
						 quote_literal_cstr(endpoint->name))));
	}
	return letter;
}

/*
 * Adds a message, to be written before the commit; MB002 if the endpoint is
 * full, unless it goes beyond the depth.
 */
void
outbox_add(const Endpoint *endpoint, RowValues *row, bool beyond_depth)
{
	Letter	   *letter = reserve(endpoint, beyond_depth);

	letter->lane = DatumGetInt32(row->values[ROW_LANE]);
	if (!row->nulls[ROW_EXPIRES_AT])
		letter->expires_at = DatumGetTimestampTz(row->values[ROW_EXPIRES_AT]);
	write_row(letter, row);
	if (unwritten_bytes > EARLY_FLUSH_BYTES && GetCurrentTransactionNestLevel() == 1)
		(void) outbox_flush();
}

/*
 * Adds a row that nobody will receive, so that its message id stays known as
 * long as the ring keeps it.
 */
void
outbox_remember(const RowValues *row)
{
	int32		endpoint_id = DatumGetInt32(row->values[ROW_ENDPOINT_ID]);
	Letter	   *letter = new_letter(bus_endpoint_find(endpoint_id));

	letter->lane = DatumGetInt32(row->values[ROW_LANE]);
	if (!row->nulls[ROW_EXPIRES_AT])
		letter->expires_at = DatumGetTimestampTz(row->values[ROW_EXPIRES_AT]);
	write_row(letter, row);
}

static void
write_row(Letter *letter, const RowValues *row)
{
	MemoryContext old = MemoryContextSwitchTo(note_memory());

	letter->row = heap_form_tuple(ring_descriptor(), (Datum *) row->values, (bool *) row->nulls);
	MemoryContextSwitchTo(old);
	unwritten_bytes += letter->row->t_len;
}

static Letter *
new_letter(BusEndpoint *endpoint)
{
	Letter	   *letter;

	note_begin();
	if (unlikely(release_count > 0))
		take_claims_back();
	if (letter_count == letter_room)
	{
		letter_room = Max(letter_room * 2, 64);
		if (letters == NULL)
			letters = MemoryContextAlloc(note_memory(), sizeof(Letter) * letter_room);
		else
			letters = repalloc_huge(letters, sizeof(Letter) * letter_room);
	}
	letter = &letters[letter_count++];
	memset(letter, 0, sizeof(*letter));
	letter->endpoint = endpoint;
	letter->expires_at = NEVER_DUE;
	letter->sent_in = GetCurrentSubTransactionId();
	return letter;
}

/*
 * Writes what is not written yet: announces all lanes, takes positions in the
 * order of sending, inserts.  False if there was nothing to write.
 */
bool
outbox_flush(void)
{
	int			count = 0;
	int			end = letter_count;
	HeapTuple  *rows;

	if (unwritten_bytes == 0)
		return false;
	rows = palloc(sizeof(HeapTuple) * (end - first_unwritten));
	for (int i = first_unwritten; i < end; i++)
	{
		if (letters[i].row != NULL && letters[i].lane >= 0)
			announce(&letters[i]);
	}
	for (int i = first_unwritten; i < end; i++)
	{
		Letter	   *letter = &letters[i];
		HeapTuple	row = letter->row;
		int64		position;

		if (row == NULL)
			continue;
		letter->row = NULL;
		unwritten_bytes -= row->t_len;
		rows[count++] = row;
		if (letter->lane < 0)
			continue;
		position = position_take(LOG_MESSAGE_BUS);
		atomic_raise(&bus_lanes(letter->endpoint)[letter->lane].tail, (uint64) position);
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
announce(Letter *letter)
{
	char		name[sizeof("endpoint ") + sizeof(" lane ") + 2 * sizeof("-2147483648")];
	char	   *end = name;
	int32		id = letter->endpoint->key.endpoint_id;

	/* For each message: printf() would cost several times as much as the rest. */
	end = stpcpy(end, "endpoint ");
	end += pg_ltoa(id, end);
	end = stpcpy(end, " lane ");
	end += pg_ltoa(letter->lane, end);
	position_announce(LOG_MESSAGE_BUS, lane_key(id, letter->lane), name, (int) (end - name));
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

	while (first < letter_count)
	{
		BusEndpoint *endpoint = letters[first].endpoint;
		uint32		sent = 0;
		int			i;

		for (i = first; i < letter_count && letters[i].endpoint == endpoint; i++)
		{
			sent += letters[i].reserved;
			if (committed && letters[i].expires_at != NEVER_DUE)
				database_lower_expiry(letters[i].expires_at);
			if (letters[i].claimed)
				note_release(&letters[i]);
		}
		if (committed && sent > 0)
		{
			pg_atomic_fetch_add_u64(&endpoint->depth, sent);
			rate_add(&endpoint->sent, at, sent);
			pg_atomic_write_u32(&endpoint->notify, 1);
			pg_atomic_write_u32(&bus_database_known()->notify_pending, 1);
			/* A runner tells the listeners' worker when it has had its look. */
			if (pg_atomic_read_u32(&endpoint->served) != 0 && wakeup_runner_is_there())
				wakes |= WAKE_FOR_SAGAS;
			else
				wakes |= WAKE_FOR_LOG(LOG_MESSAGE_BUS);
		}
		if (sent > 0)
			pg_atomic_fetch_sub_u64(&endpoint->reserved, sent);
		first = i;
	}
	letters = NULL;
	letter_count = letter_room = first_unwritten = 0;
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
	int			kept = letter_count;

	while (kept > 0 && letters[kept - 1].sent_in >= mine)
	{
		Letter	   *letter = &letters[--kept];

		if (committed)
			letter->sent_in = parent;
		else
		{
			if (letter->row != NULL)
				unwritten_bytes -= letter->row->t_len;
			forget_letter(letter);
		}
	}
	if (!committed)
	{
		letter_count = kept;
		first_unwritten = Min(first_unwritten, kept);
	}
}

static void
forget_letter(Letter *letter)
{
	if (letter->claimed)
		note_release(letter);
	if (letter->reserved)
		pg_atomic_fetch_sub_u64(&letter->endpoint->reserved, 1);
}
