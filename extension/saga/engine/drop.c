/*
 * drop.c
 *		saga.drop(): the end of a definition.
 *
 * Lock protocol: locks saga.definition against definers and the saga against who begins
 * an instance or parks a message for one, then removes all versions; the invalidation
 * makes every backend look.  Whoever comes to begin an instance meanwhile waits, and
 * finds no definition then, or has committed before; what he left is removed here or
 * refuses the drop.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/inval.h"

#include "base/errors.h"
#include "log/wakeup.h"
#include "pg/relation.h"
#include "pg/spi.h"
#include "saga/definition/definition.h"

static ExtensionRelation definition_table = {"saga", "definition"};

static void refuse_if_running(const char *name);
static void remove_all(const char *name);
static void remove_calls(const char *name);

/*
 * Instances that are not over, and messages that wait for one.
 */
static void
refuse_if_running(const char *name)
{
	static SpiStatement count = {
		"SELECT (SELECT count(*) FROM saga.stored_instance i WHERE i.saga = $1"
		"  AND NOT EXISTS (SELECT FROM saga.definition_state s WHERE s.name = i.saga"
		"   AND s.version = i.definition_version AND s.state = i.current_state AND s.kind = 'final')),"
		" (SELECT count(*) FROM saga.parked_message p WHERE p.saga = $1)"
	};
	Datum		value = CStringGetTextDatum(name);
	int64		running;
	int64		parked;

	spi_begin(SPI_AS_OWNER);
	(void) spi_run_latest(&count, 1, (Oid[]) {TEXTOID}, &value, NULL);
	running = spi_int64(0, 0, 0);
	parked = spi_int64(0, 1, 0);
	spi_end();
	if (running + parked > 0)
		ereport(ERROR,
				(errcode(ERRCODE_SG_IN_USE),
				 errmsg("saga \"%s\" is in use", name),
				 errdetail("Instances that have not ended: " INT64_FORMAT
						   "; messages that wait for one: " INT64_FORMAT ".",
						   running, parked),
				 errhint("Let them end, or type SELECT saga.drop(%s, force => true).",
						 quote_literal_cstr(name))));
}

/*
 * Histories stay, as those of single instances that are deleted.  Events that no
 * other saga of the endpoint lists are unsubscribed from.
 */
static void
remove_all(const char *name)
{
	static SpiStatement removals[] = {
		{"DELETE FROM message_bus.route r USING message_bus.endpoint e, saga.definition d"
			" WHERE d.name = $1 AND e.name = d.endpoint AND r.endpoint_id = e.endpoint_id"
			" AND d.document -> 'events' ? r.message_type"
			" AND NOT EXISTS (SELECT FROM saga.definition o WHERE o.name <> $1"
		" AND o.endpoint = d.endpoint AND o.document -> 'events' ? r.message_type)"},
		{"INSERT INTO saga.deleted_instance (number, saga, correlation_id)"
		" SELECT i.number, i.saga, i.correlation_id FROM saga.stored_instance i WHERE i.saga = $1"},
		{"DELETE FROM saga.stored_instance WHERE saga = $1"},
		{"DELETE FROM saga.parked_message WHERE saga = $1"},
		{"DELETE FROM saga.timer_queue WHERE saga = $1"},
		{"DELETE FROM saga.attention WHERE saga = $1"},
		{"DELETE FROM saga.patience WHERE saga = $1"},
		{"DELETE FROM saga.definition_action a USING saga.definition_transition t"
		" WHERE t.name = $1 AND a.transition_id = t.id"},
		{"DELETE FROM saga.definition_transition WHERE name = $1"},
		{"DELETE FROM saga.definition_timer WHERE name = $1"},
		{"DELETE FROM saga.definition_state WHERE name = $1"},
		{"DELETE FROM saga.definition WHERE name = $1"},
	};
	Datum		value = CStringGetTextDatum(name);

	for (int i = 0; i < lengthof(removals); i++)
		spi_execute_latest(&removals[i], 1, (Oid[]) {TEXTOID}, &value, NULL);
}

/*
 * The functions that are called belong to whoever made them again.
 */
static void
remove_calls(const char *name)
{
	static SpiStatement find = {"SELECT version FROM saga.definition WHERE name = $1"};
	Datum		value = CStringGetTextDatum(name);
	MemoryContext caller = CurrentMemoryContext;
	uint64		count;
	int		   *versions;

	spi_begin(SPI_AS_OWNER);
	count = spi_run_latest(&find, 1, (Oid[]) {TEXTOID}, &value, NULL);
	versions = MemoryContextAlloc(caller, sizeof(int) * Max(count, 1));
	for (uint64 i = 0; i < count; i++)
		versions[i] = spi_int32(i, 0, 0);
	spi_end();
	for (uint64 i = 0; i < count; i++)
	{
		ListCell   *cell;

		foreach(cell, definition_get(name, versions[i])->calls)
			registration_remove(((Registration *) lfirst(cell))->name);
	}
}

PG_FUNCTION_INFO_V1(saga_drop);
/*
 * saga.drop(name, force)
 */
Datum
saga_drop(PG_FUNCTION_ARGS)
{
	static SpiStatement lock = {"LOCK TABLE saga.definition IN SHARE ROW EXCLUSIVE MODE"};
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));

	spi_execute(&lock, 0, NULL, NULL, NULL);
	definition_cache_refresh();
	(void) definition_require(name);
	(void) definition_lock(name, ExclusiveLock, true);
	if (!PG_GETARG_BOOL(1))
		refuse_if_running(name);
	remove_calls(name);
	remove_all(name);
	CacheInvalidateRelcacheByRelid(extension_relation_oid(&definition_table));
	wakeup_worker_after_commit(WAKE_FOR_UNITS);
	PG_RETURN_VOID();
}
