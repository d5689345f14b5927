/*
 * event_store.c
 *		Registers the event store with the layers below.
 */
#include "postgres.h"

#include "event_store/event_store.h"
#include "event_store/keep/guard.h"
#include "event_store/read/read_plan.h"
#include "event_store/stream/table.h"
#include "log/position.h"

static ExtensionRelation positions = {"event_store", "position_seq"};
static ExtensionRelation published = {"event_store", "published_mark_seq"};

/*
 * Tells layer log about our sequences.  From _PG_init.
 */
void
event_store_init(void)
{
	LogDefinition definition = {&positions, &published, event_newest_position};

	position_log_define(LOG_EVENT_STORE, &definition);
	guard_install();
	read_plan_install();
}
