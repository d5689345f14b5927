/*
 * incarnation.c
 *		Which history of a database something was read from.
 *
 * A receiver keeps, with its position, the incarnation of the sender from which it
 * has read that far: system identifier, timeline, WAL up to where it has read, and
 * which database and extension.  A sender that is asked to go on from there looks
 * whether its own history holds all of that.  After a failover to a standby that had
 * everything it does, since its timeline has left the old one later; a backup that
 * was restored, or a standby that was behind, has left it earlier; what pg_dump
 * restores is another database.
 *
 * As text: SYSTEM:TIMELINE:LSN:DATABASE:EXTENSION.
 */
#include "postgres.h"

#include "access/timeline.h"
#include "access/xlog.h"
#include "miscadmin.h"

#include "base/compat.h"
#include "log/incarnation.h"
#include "pg/relation.h"

typedef struct Incarnation
{
	unsigned long long system;
	TimeLineID	timeline;
	XLogRecPtr	upto;
	Oid			database;
	Oid			extension;		/* a table of it: another after CREATE EXTENSION */
} Incarnation;

/* Any of the extension's tables tells one CREATE EXTENSION from another. */
static ExtensionRelation some_table = {"message_bus", "endpoint"};

static void parse(const char *text, Incarnation *incarnation);
static Incarnation current(XLogRecPtr upto);
static const char *other_place(const Incarnation *known, const Incarnation *next);
static const char *left_too_early(const Incarnation *known, TimeLineID timeline);

/*
 * This database's incarnation, read up to a place in WAL that is safe.
 */
void
incarnation_write(char *text, XLogRecPtr upto)
{
	Incarnation mine = current(upto);

	snprintf(text, INCARNATION_SIZE, "%llu:%u:%X/%X:%u:%u", mine.system, mine.timeline,
			 (uint32) (upto >> 32), (uint32) upto, mine.database, mine.extension);
}

static Incarnation
current(XLogRecPtr upto)
{
	Incarnation mine = {
		(unsigned long long) GetSystemIdentifier(), compat_timeline(), upto,
		MyDatabaseId, extension_relation_oid(&some_table)
	};

	return mine;
}

static void
parse(const char *text, Incarnation *incarnation)
{
	unsigned int high;
	unsigned int low;
	int			end = 0;

	if (sscanf(text, "%llu:%u:%X/%X:%u:%u%n", &incarnation->system, &incarnation->timeline,
			   &high, &low, &incarnation->database, &incarnation->extension, &end) != 6 ||
		text[end] != '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is no incarnation", text),
				 errhint("Pass what the source gave with the batch, or NULL.")));
	incarnation->upto = (uint64) high << 32 | low;
}

/*
 * Why this database does not hold what was read from a known incarnation; NULL if it
 * does.
 */
const char *
incarnation_break(const char *known)
{
	Incarnation before;
	Incarnation mine = current(compat_flushed_upto());
	const char *reason;

	parse(known, &before);
	reason = other_place(&before, &mine);
	if (reason == NULL && before.timeline != mine.timeline)
		reason = left_too_early(&before, mine.timeline);
	else if (reason == NULL && before.upto > mine.upto)
		reason = "its log ends earlier than what was read: an older state was restored";
	return reason;
}

/*
 * Why what was read from one incarnation cannot follow what was read from another,
 * as far as can be told elsewhere; NULL if it can.
 */
const char *
incarnation_step_break(const char *known, const char *next)
{
	Incarnation before;
	Incarnation after;
	const char *reason;

	parse(known, &before);
	parse(next, &after);
	reason = other_place(&before, &after);
	if (reason == NULL && after.timeline < before.timeline)
		reason = "it comes from a server that another one has taken over from";
	return reason;
}

static const char *
other_place(const Incarnation *known, const Incarnation *next)
{
	if (known->system != next->system)
		return "it is another server, or a dump was restored into a new one";
	if (known->database != next->database || known->extension != next->extension)
		return "it is another database of that server, or the extension was created anew";
	return NULL;
}

/*
 * Whether our timeline has left the known one before the place that was read to.
 */
static const char *
left_too_early(const Incarnation *known, TimeLineID timeline)
{
	List	   *history = readTimeLineHistory(timeline);
	const char *reason = NULL;

	if (!tliInHistory(known->timeline, history))
		reason = "its timeline does not come from the one that was read";
	else if (tliSwitchPoint(known->timeline, history, NULL) < known->upto)
		reason = "it was taken over, or restored, without the newest that was read";
	list_free_deep(history);
	return reason;
}
