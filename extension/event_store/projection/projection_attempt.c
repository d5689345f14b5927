/*
 * projection_attempt.c
 *		Giving events to a projection's handler, with its creator's rights.
 *
 * An attempt is one subtransaction: either the handler has had all the events
 * it was meant to get, or none of what it did remains.  Upcasters run inside,
 * with the same rights.  A handler of arrays is called for as many events as there
 * are, up to BATCH_EVENTS.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/typcache.h"

#include "base/debug_point.h"
#include "event_store/projection/projection.h"
#include "pg/limit.h"
#include "pg/rights.h"
#include "pg/scoped.h"
#include "pg/spi.h"

static ExtensionRelation relation_event = {"event_store", "event"};

/* What a handler of arrays gets at once, at most. */
#define BATCH_EVENTS 5000
#define BATCH_BYTES (4 * 1024 * 1024)

/* bool: the events that a handler is being given have been given before. */
static Scoped replaying;

static bool replaying_enter(bool now);
static void give_events(void *argument);
static void name_failing_event(void *argument);
static void give_from_scan(ProjectionRun *run, EventScan *scan, Callable *callable, TupleDesc row,
						   Rights *before);
static void give_brought(ProjectionRun *run, Callable *callable, Rights *before);
static int	take_events(ProjectionRun *run, EventScan *scan, TupleDesc row, int most,
						Datum *events, bool *more);
static void give_to_handler(ProjectionRun *run, Callable *callable, Datum *events, int count,
							Rights *before);
static bool is_over(const ProjectionRun *run);
static bool wanted(const ProjectionRun *run, const Event *event);

/*
 * Makes an attempt.  run->applied tells how many events the handler took; after
 * a failure run->position is the event it failed at, 0 if it got to none.
 */
bool
projection_attempt(ProjectionRun *run, ErrorData **error)
{
	bool		success;
	bool		replaying_before = replaying_enter(run->replaying);
	const Redirect *redirect_before = redirect_enter(run->redirect);

	run->applied = 0;
	run->position = 0;
	run->together = 0;
	run->exhausted = false;
	run->passed = 0;
	success = subtransaction_run(give_events, run, error);
	(void) replaying_enter(replaying_before);
	redirect_leave(redirect_before);
	return success;
}

/*
 * The same without a way back: an error ends the caller's transaction or
 * savepoint, which takes the rights back too.
 */
void
projection_give(ProjectionRun *run)
{
	bool		replaying_before = replaying_enter(run->replaying);
	const Redirect *redirect_before = redirect_enter(run->redirect);

	give_events(run);
	(void) replaying_enter(replaying_before);
	redirect_leave(redirect_before);
}

/*
 * Whether handlers are given events anew from now on; returns whether they were before.
 */
static bool
replaying_enter(bool now)
{
	bool		before = DatumGetBool(scoped_get(&replaying));

	if (now != before)
		scoped_set(&replaying, BoolGetDatum(now));
	return before;
}

/*
 * Opens a scan over the events that an attempt is about, but for single
 * positions, of which there is one scan each.
 */
EventScan *
projection_scan(const ProjectionRun *run, Snapshot snapshot)
{
	if (run->source == SOURCE_STREAM)
	{
		EventScan  *scan = event_scan_stream(run->stream->text, run->stream->length,
											 run->after + 1, false, snapshot);

		event_scan_for_consumer(scan);
		return scan;
	}
	return event_scan_positions(&run->projection->filter, run->after, run->upto, snapshot);
}

/*
 * An error as people read it in event_store.projections.
 */
char *
projection_error_text(const ErrorData *error)
{
	return psprintf("%s (SQLSTATE %s)", error->message, unpack_sql_state(error->sqlerrcode));
}

/*
 * Empties the tables of a projection, with its creator's rights; a body for
 * subtransaction_run().
 */
void
projection_truncate(void *argument)
{
	Projection *projection = (Projection *) argument;
	Rights		before;

	if (projection->tables == NULL)
		return;
	rights_take(registration_owner(&projection->registration), &before);
	spi_begin(SPI_AS_CALLER);
	spi_command(psprintf("TRUNCATE %s", projection->tables));
	spi_end();
	rights_give_back(&before);
}

static void
give_events(void *argument)
{
	ProjectionRun *run = (ProjectionRun *) argument;
	Projection *projection = run->projection;
	MemoryContext home = projection_cache_context();
	Oid			type = get_rel_type_id(extension_relation_oid(&relation_event));
	TupleDesc	row = lookup_rowtype_tupdesc(type, -1);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	ErrorContextCallback callback = {error_context_stack, name_failing_event, run};
	Callable   *own = NULL;
	Callable  **idle = run->redirect == NULL ? &projection->idle : &own;
	Callable   *callable;
	Rights		before;

	error_context_stack = &callback;
	event_row_check(row);
	rights_take(registration_owner(&projection->registration), &before);
	callable = callable_borrow(idle, &projection->registration, VOIDOID, home);
	if (run->source == SOURCE_POSITIONS)
	{
		EventFilter any = {.of_consumer = true, .deletions = true};

		for (int i = 0; i < run->position_count && run->applied < run->limit && !is_over(run); i++)
		{
			EventScan  *scan;

			if (run->applied > 0 && DEBUG_HELD("projection_portion_over"))
				limit_passed = 1;
			scan = event_scan_positions(&any, run->positions[i] - 1, run->positions[i], snapshot);
			give_from_scan(run, scan, callable, row, &before);
			event_scan_end(scan);
			/* The turn's time may have ended just now. */
			if (!run->exhausted)
				break;
			run->passed = i + 1;
		}
	}
	else if (run->source == SOURCE_BROUGHT)
		give_brought(run, callable, &before);
	else
	{
		EventScan  *scan = projection_scan(run, snapshot);

		give_from_scan(run, scan, callable, row, &before);
		event_scan_end(scan);
	}
	/* What a function has planned for one pair of tables is of no use for another. */
	if (run->redirect == NULL)
		callable_return(idle, callable, home);
	rights_give_back(&before);
	error_context_stack = callback.previous;
	UnregisterSnapshot(snapshot);
	ReleaseTupleDesc(row);
}

static void
name_failing_event(void *argument)
{
	const ProjectionRun *run = (ProjectionRun *) argument;

	if (run->position > 0)
		errcontext("projection \"%s\", event at position " INT64_FORMAT, run->projection->name,
				   run->position);
	else
		errcontext("projection \"%s\"", run->projection->name);
}

static void
give_from_scan(ProjectionRun *run, EventScan *scan, Callable *callable, TupleDesc row,
			   Rights *before)
{
	MemoryContext call_context = AllocSetContextCreate(CurrentMemoryContext, "events to project",
													   ALLOCSET_DEFAULT_SIZES);
	int			most = run->projection->takes_batch ? BATCH_EVENTS : 1;
	Datum	   *events = palloc(sizeof(Datum) * most);
	bool		more = true;

	while (more)
	{
		MemoryContext old = MemoryContextSwitchTo(call_context);
		int			count = take_events(run, scan, row, most, events, &more);

		if (count > 0)
			give_to_handler(run, callable, events, count, before);
		MemoryContextSwitchTo(old);
		MemoryContextReset(call_context);
		CHECK_FOR_INTERRUPTS();
	}
	MemoryContextDelete(call_context);
}

/*
 * Gives the events that the caller has brought.
 */
static void
give_brought(ProjectionRun *run, Callable *callable, Rights *before)
{
	MemoryContext call_context = AllocSetContextCreate(CurrentMemoryContext, "events to project",
													   ALLOCSET_DEFAULT_SIZES);
	int			most = run->projection->takes_batch ? BATCH_EVENTS : 1;

	while (run->applied < run->position_count && run->applied < run->limit)
	{
		MemoryContext old = MemoryContextSwitchTo(call_context);
		int			left = Min(run->position_count, run->limit) - run->applied;
		int			count = Min(most, left);

		limit_next_piece();
		run->position = run->positions[run->applied + count - 1];
		give_to_handler(run, callable, run->brought + run->applied, count, before);
		MemoryContextSwitchTo(old);
		MemoryContextReset(call_context);
		CHECK_FOR_INTERRUPTS();
	}
	MemoryContextDelete(call_context);
	run->exhausted = run->applied == run->position_count;
}

/*
 * The next events for a call of the handler, in the current context; *more tells
 * whether there may be another call.
 */
static int
take_events(ProjectionRun *run, EventScan *scan, TupleDesc row, int most, Datum *events,
			bool *more)
{
	Size		bytes = 0;
	int			count = 0;
	Event		event;

	run->exhausted = true;
	while (event_scan_next(scan, &event))
	{
		if (!wanted(run, &event))
			continue;
		if (run->applied + count == run->limit || (count == 0 && is_over(run)))
		{
			run->exhausted = false;
			break;
		}
		if (count == 0)
			limit_next_piece();
		run->position = event.position;
		events[count] = event_to_datum(&event, row);
		bytes += VARSIZE_ANY(DatumGetPointer(events[count]));
		if (++count == most || bytes > BATCH_BYTES)
			return count;
	}
	*more = false;
	return count;
}

/*
 * Calls the handler with one event, or with an array of them.
 */
static void
give_to_handler(ProjectionRun *run, Callable *callable, Datum *events, int count, Rights *before)
{
	Datum		argument = events[0];
	bool		isnull;

	run->together = count;
	if (run->projection->takes_batch)
		argument = PointerGetDatum(
			construct_array(events, count, get_rel_type_id(extension_relation_oid(&relation_event)),
							-1, false, TYPALIGN_DOUBLE));
	rights_renew(before);
	/* Each call sees what the handler did in those before it. */
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	(void) callable_call(callable, &argument, &isnull);
	PopActiveSnapshot();
	run->applied += count;
}

/*
 * Whether the turn has had its portion of time; an attempt does one event at least.
 */
static bool
is_over(const ProjectionRun *run)
{
	return run->applied > 0 && !run->whole && limit_portion_over();
}

/*
 * A scan of a stream knows neither the projection's filter nor where to end.
 */
static bool
wanted(const ProjectionRun *run, const Event *event)
{
	if (run->source != SOURCE_STREAM)
		return true;
	return event->version <= run->upto && event_filter_admits(&run->projection->filter, event);
}

PG_FUNCTION_INFO_V1(event_store_replaying);
/*
 * event_store.replaying()
 */
Datum
event_store_replaying(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(DatumGetBool(scoped_get(&replaying)));
}
