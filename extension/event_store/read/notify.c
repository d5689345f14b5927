/*
 * notify.c
 *		Notifies listeners of new events, from the background worker.
 *
 * NOTIFY takes a lock of the whole cluster until its commit; in the appending
 * transactions that would serialize them.  Here one transaction at most every
 * event_store.notify_interval sends one notification per channel that has
 * something new, and publishes the mark for standbys.
 *
 * While some transaction holds the mark of the whole store back, categories it
 * has nothing to do with are looked at one by one.
 *
 * Nothing of this survives the worker; the next one starts at the mark it finds,
 * and clients read once after LISTEN.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/async.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "event_store/read/notify.h"
#include "event_store/read/read.h"
#include "event_store/stream/channel.h"
#include "event_store/stream/stream.h"
#include "log/position.h"
#include "log/wakeup.h"
#include "pg/notification.h"
#include "pg/relation.h"
#include "pg/settings.h"

/* Categories remembered; beyond that they are forgotten and found again. */
#define CATEGORIES_MAX 1024

typedef struct Category
{
	char		name[STREAM_NAME_MAX + 1];	/* hash key */
	int64		newest;			/* highest position met */
	int64		notified;		/* mark last sent */
} Category;

static HTAB *categories = NULL;
static TimestampTz last_time = 0;
static int64 last_mark = -1;	/* -1: this worker has just started */
static int64 scanned_to = 0;
static uint64 *running = NULL;	/* transactions at the last look, see position_ended_since() */
static bool standby_is_behind = false;

static bool send_news(void);
static void collect(int64 after, int64 upto, Snapshot snapshot);
static void notify_category(Category *category, int64 mark);
static bool has_events(const Category *category, int64 mark, Snapshot snapshot);

/*
 * Duty of the worker.
 */
void
event_notify_run(DutyWish *wish)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz allowed =
		TimestampTzPlusMilliseconds(last_time, setting_event_store_notify_interval);

	if (!notification_has_room(now))
	{
		wish->due = now + NOTIFICATION_PAUSE;
		return;
	}
	if (now >= allowed && send_news())
	{
		last_time = now;
		allowed = TimestampTzPlusMilliseconds(now, setting_event_store_notify_interval);
	}
	/* What comes meanwhile is for the next round: no need to be woken for it. */
	if (now < allowed)
		wish->due = allowed;
	else if (standby_is_behind)
		wish->due = TimestampTzPlusMilliseconds(now, setting_event_store_notify_interval);
	else
		wish->wakes = WAKE_FOR_LOG(LOG_EVENT_STORE);
}

/*
 * Sends what is new; false if nothing was.
 */
static bool
send_news(void)
{
	int64		mark;
	int64		counter;
	int64		ended;
	char		payload[32];
	Snapshot	snapshot;
	HASH_SEQ_STATUS every;
	Category   *category;

	extension_begin_transaction();
	counter = position_counter(LOG_EVENT_STORE);
	standby_is_behind = !position_mark_nowait(LOG_EVENT_STORE, POSITION_ANY_KEY, &mark);
	ended = standby_is_behind ? 0 : position_ended_since(LOG_EVENT_STORE, &running);
	if (standby_is_behind ||
		(last_mark >= 0 && mark <= last_mark && counter <= scanned_to && ended > scanned_to))
	{
		CommitTransactionCommand();
		return false;
	}
	/* The notification is a hint; nobody must wait for a disk because of it. */
	(void) set_config_option("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_LOCAL, true, 0, false);
	(void) position_publish(LOG_EVENT_STORE, mark);
	if (last_mark < 0)
		last_mark = scanned_to = mark;
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	collect(last_mark, mark, snapshot);
	/* Above the mark, events can have come below the place we have been to. */
	collect(Max(Min(scanned_to, ended - 1), mark), counter, snapshot);
	scanned_to = counter;
	if (mark > last_mark)
	{
		snprintf(payload, sizeof(payload), INT64_FORMAT, mark);
		Async_Notify("event_store", payload);
		last_mark = mark;
	}
	if (categories != NULL)
	{
		hash_seq_init(&every, categories);
		while ((category = hash_seq_search(&every)) != NULL)
		{
			int64		own_mark = mark;

			if (category->newest <= category->notified && counter <= mark)
				continue;
			if (mark < counter &&
				!position_mark_nowait(LOG_EVENT_STORE,
									  category_key(category->name, (int) strlen(category->name)),
									  &own_mark))
				continue;
			if (has_events(category, own_mark, snapshot))
				notify_category(category, own_mark);
		}
	}
	UnregisterSnapshot(snapshot);
	CommitTransactionCommand();
	return true;
}

/*
 * Notes the categories of the events above after and up to upto.
 */
static void
collect(int64 after, int64 upto, Snapshot snapshot)
{
	EventFilter any = {.deletions = true};
	EventScan  *scan;
	Event		event;

	if (upto <= after)
		return;
	if (categories != NULL && hash_get_num_entries(categories) > CATEGORIES_MAX)
	{
		hash_destroy(categories);
		categories = NULL;
	}
	if (categories == NULL)
	{
		HASHCTL		control = {0};

		control.keysize = STREAM_NAME_MAX + 1;
		control.entrysize = sizeof(Category);
		control.hcxt = TopMemoryContext;
		categories = hash_create("categories with new events", 64, &control,
								 HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	}
	scan = event_scan_positions(&any, after, upto, snapshot);
	while (event_scan_next(scan, &event))
	{
		char		name[STREAM_NAME_MAX + 1] = {0};
		Category   *category;
		bool		found;

		memcpy(name, VARDATA_ANY(event.stream),
			   category_length(VARDATA_ANY(event.stream), VARSIZE_ANY_EXHDR(event.stream)));
		category = hash_search(categories, name, HASH_ENTER, &found);
		if (!found)
			category->notified = category->newest = after;
		category->newest = Max(category->newest, event.position);
	}
	event_scan_end(scan);
}

static void
notify_category(Category *category, int64 mark)
{
	char		channel[NAMEDATALEN];
	char		payload[32];

	event_channel(category->name, (int) strlen(category->name), channel);
	snprintf(payload, sizeof(payload), INT64_FORMAT, mark);
	Async_Notify(channel, payload);
	category->notified = mark;
}

static bool
has_events(const Category *category, int64 mark, Snapshot snapshot)
{
	EventFilter filter = {.deletions = true};
	EventScan  *scan;
	Event		event;
	bool		found;

	if (mark <= category->notified)
		return false;
	filter.category = category->name;
	filter.category_length = (int) strlen(category->name);
	scan = event_scan_positions(&filter, category->notified, mark, snapshot);
	found = event_scan_next(scan, &event);
	event_scan_end(scan);
	return found;
}
