/*
 * notification.c
 *		NOTIFY as a hint, which must not stop who sends it.
 *
 * The server has one queue of notifications for all databases.  It fills when some
 * session listens and stays in a transaction for long; then whoever notifies fails
 * at his commit, and what else the transaction did with it.  Ours are hints that
 * pollers can do without, so they are left out while the queue is nearly full.
 */
#include "postgres.h"

#include "commands/async.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "base/debug_point.h"
#include "pg/notification.h"

/* Part of the queue that others may need. */
#define FULL 0.75

/*
 * Whether notifications may be sent now.  Looks once a second, and says in the
 * log when that changes.
 */
bool
notification_has_room(TimestampTz now)
{
	static TimestampTz looked_at = 0;
	static bool has_room = true;
	double		usage;

	if (now >= looked_at && now < looked_at + NOTIFICATION_PAUSE)
		return has_room;
	looked_at = now;
	usage = DatumGetFloat8(DirectFunctionCall1(pg_notification_queue_usage, (Datum) 0));
	if (DEBUG_BREAK("notify_queue_full"))
		usage = 1;
	if (has_room != (usage < FULL))
	{
		has_room = !has_room;
		if (has_room)
			ereport(LOG, (errmsg("notifications are sent again")));
		else
			ereport(WARNING,
					(errmsg("notifications of events and messages are left out: the queue is %.0f%% full",
							usage * 100),
					 errhint("Some session that has typed LISTEN has been in a transaction for long; end that.")));
	}
	return has_room;
}
