/*
 * simulate.c
 *		saga.simulate(): many orders of the same messages, and what must hold in all.
 *
 * The definition runs as the engine runs it, but against a world in memory.  Each
 * schedule is a sequence of choices - which message arrives next, whether it is
 * lost or comes twice, whether a timer fires before an answer, what a participant
 * does - drawn from a seed, or enumerated one by one.  Nothing is stored or sent.
 *
 * Checked besides the scenario's own invariants: the version rises by one with
 * each effective transition and not otherwise; every state has a timer if it must
 * and a final one exactly when something is outstanding; the history replays to
 * the instance; the same message again changes nothing; a schedule ends; schedules
 * that differ in order alone end alike.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "pg/subtransaction.h"
#include "saga/simulate/choice.h"
#include "saga/simulate/world.h"

#define MAX_VIOLATIONS 10
#define MAX_TRACE 120

typedef struct Run
{
	Definition *definition;
	const Scenario *scenario;
	Chooser    *chooser;
	World		world;
	Machine    *machine;
	/* What may still go wrong in this schedule. */
	int			drops;
	int			duplicates;
	int			timeouts;
	bool		patient;		/* nothing happens by itself before all messages have arrived */
	int			transitions;
	Tree	   *trace;
	Tree	   *replayed;		/* data, folded from the history */
	List	   *requests;		/* not made yet */
	List	   *placed;			/* not made yet; each waits for its state */
	const char *violated;		/* name of an invariant, NULL: none */
	const char *problem;
} Run;

/* What all schedules add up to. */
typedef struct Report
{
	MemoryContext context;
	int			schedules;
	int64		transitions;
	Tree	   *end_states;
	Tree	   *events_seen;
	Tree	   *violations;
	int			violation_count;
	Tree	   *group_end;		/* of schedules that must end alike */
} Report;

static void run_schedule(void *argument);
static void choose_faults(Run *run);
static bool step(Run *run);
static Flight *first_at_once(Run *run);
static void make_request(Run *run);
static void make_placed(Run *run);
static Flight *send_request(Run *run, const Tree *request);
static void deliver(Run *run, Flight *flight);
static void fire_next_timer(Run *run);
static void after_reaction(Run *run, const char *event, const Effects *effects, int before);
static void check_invariants(Run *run, bool at_end);
static void check_timers(Run *run);
static void replay_actions(Run *run, const Effects *effects);
static void check_idempotent(Run *run, const Input *input);
static void violate(Run *run, const char *invariant, const char *problem);
static ArmedTimer *next_timer(Machine *machine);
static void note_end(Report *report, Run *run, int schedule);
static void note_violation(Report *report, Run *run, int schedule);
static void trace(Run *run, const char *what);
static Tree *report_tree(const Report *report);

/*
 * Runs up to so many schedules and reports.
 */
static Tree *
simulate(Definition *definition, const Tree *scenario_tree, int schedules, int64 seed)
{
	Scenario   *scenario = scenario_parse(scenario_tree);
	Report		report = {CurrentMemoryContext};
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "simulated schedule",
												  ALLOCSET_DEFAULT_SIZES);
	Chooser    *chooser = chooser_new(scenario->exhaustive);

	report.end_states = tree_object();
	report.events_seen = tree_object();
	report.violations = tree_array();
	for (int i = 0; i < schedules; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(context);
		Run			run = {definition, scenario, chooser};
		ErrorData  *error;

		CHECK_FOR_INTERRUPTS();
		chooser_begin(chooser, seed, i);
		run.world.deed_seed = chooser_seed(seed, i / scenario->orders);
		run.trace = tree_array();
		if (!subtransaction_run(run_schedule, &run, &error))
			violate(&run, "no error", error->message);
		note_end(&report, &run, i);
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
		if (scenario->exhaustive && !chooser_next(chooser))
			break;
	}
	return report_tree(&report);
}

static void
run_schedule(void *argument)
{
	Run		   *run = argument;
	pg_uuid_t	id = {{0x51, 0x5a, 0x90, 0, 0, 0, 0x40, 0, 0x80, 0, 0, 0, 0, 0, 0, 1}};
	Input		input = {definition_find_event(run->definition, run->scenario->start_type)};
	Effects		effects;
	int			steps = 0;

	run->world.scenario = run->scenario;
	/* Any instant will do, as long as it is always the same. */
	run->world.now = (TimestampTz) 25 * 365 * USECS_PER_DAY;
	run->world.records = run->world.sent = run->world.published = tree_object();
	run->world.appended = tree_object();
	run->world.choose = chooser_choose;
	run->world.chooser = run->chooser;
	choose_faults(run);
	run->machine = machine_new(run->definition, &id, run->world.now);
	run->replayed = tree_object();
	input.name = run->scenario->start_type;
	input.message = run->scenario->start_body;
	input.now = run->world.now;
	if (!react_start(run->machine, &input, &effects))
	{
		violate(run, "it starts", "no start transition applies");
		return;
	}
	after_reaction(run, input.name, &effects, 0);
	while (run->violated == NULL && step(run))
	{
		if (++steps > run->scenario->max_steps)
			violate(run, "it ends", psprintf("it goes on after %d steps", steps));
	}
	if (run->violated == NULL && run->scenario->must_end &&
		!definition_state(run->definition, run->machine->state)->final)
		violate(run, "it ends", "it rests in a state that is not final");
	if (run->violated == NULL)
		check_invariants(run, true);
}

/*
 * Schedules differ in how much goes wrong, so that the quiet ones occur too.
 */
static void
choose_faults(Run *run)
{
	const Scenario *scenario = run->scenario;
	int			requests = chooser_choose(run->chooser, list_length(scenario->requests) + 1);
	List	   *left = list_copy(scenario->requests);

	run->drops = chooser_choose(run->chooser, scenario->drops + 1);
	run->duplicates = chooser_choose(run->chooser, scenario->duplicates + 1);
	run->timeouts = chooser_choose(run->chooser, scenario->timeouts + 1);
	run->placed = list_copy(scenario->placed);
	run->patient = scenario->patient || chooser_choose(run->chooser, 2) == 0;
	while (list_length(run->requests) < requests)
	{
		Tree	   *request = list_nth(left, chooser_choose(run->chooser, list_length(left)));

		left = list_delete_ptr(left, request);
		run->requests = lappend(run->requests, request);
	}
}

/*
 * One thing happens; false when nothing can any more.
 */
static bool
step(Run *run)
{
	World	   *world = &run->world;
	int			flights = list_length(world->flights);
	int			happens = run->patient && flights > 0 ? 0 : world_can_happen(world);
	bool		timer = next_timer(run->machine) != NULL && (flights == 0 || run->timeouts > 0);
	int			requests = list_length(run->requests);
	int			options = flights + (timer ? 1 : 0) + (happens > 0 ? 1 : 0) +
		(requests > 0 ? 1 : 0);
	Flight	   *at_once = first_at_once(run);
	int			option;

	if (at_once != NULL)
	{
		deliver(run, at_once);
		return true;
	}
	if (options == 0)
		return false;
	option = chooser_choose(run->chooser, options);
	if (option < flights)
	{
		Flight	   *flight = list_nth(world->flights, option);

		deliver(run, flight);
		return true;
	}
	option -= flights;
	if (timer && option-- == 0)
	{
		run->timeouts -= flights > 0 ? 1 : 0;
		fire_next_timer(run);
		return true;
	}
	if (happens > 0 && option-- == 0)
	{
		trace(run, world_happen(world, chooser_choose(run->chooser, happens)));
		return true;
	}
	make_request(run);
	return true;
}

static Flight *
first_at_once(Run *run)
{
	ListCell   *cell;

	foreach(cell, run->world.flights)
		if (((Flight *) lfirst(cell))->at_once)
			return lfirst(cell);
	return NULL;
}

static void
make_request(Run *run)
{
	Tree	   *request = linitial(run->requests);

	run->requests = list_delete_first(run->requests);
	(void) send_request(run, request);
}

/*
 * The requests whose place is the state that the instance is in now.
 */
static void
make_placed(Run *run)
{
	const char *state = definition_state(run->definition, run->machine->state)->name;
	ListCell   *cell;

	foreach(cell, run->placed)
	{
		Tree	   *request = lfirst(cell);

		if (!tree_is_text(tree_get(request, "in"), state))
			continue;
		run->placed = foreach_delete_current(run->placed, cell);
		send_request(run, request)->at_once = true;
	}
}

static Flight *
send_request(Run *run, const Tree *request)
{
	Flight	   *flight = palloc0(sizeof(Flight));

	flight->sure = true;
	flight->type = tree_get_text(request, "type");
	flight->body = tree_get(request, "body") ? tree_get(request, "body") : tree_object();
	run->world.flights = lappend(run->world.flights, flight);
	trace(run, psprintf("%s is sent", flight->type));
	return flight;
}

/*
 * A message arrives, or is lost; it may come again.
 */
static void
deliver(Run *run, Flight *flight)
{
	int			fate = run->drops > 0 || run->duplicates > 0 ? chooser_choose(run->chooser, 6) : 0;
	Input		input = {0};
	Effects		effects;
	int			before = run->machine->version;

	/* A participant may take a command that comes twice for another chance. */
	if (fate == 1 && run->duplicates > 0 && !(flight->command && run->scenario->orders > 1))
		run->duplicates--;
	else
		run->world.flights = list_delete_ptr(run->world.flights, flight);
	if (fate == 2 && run->drops > 0 && !flight->sure)
	{
		run->drops--;
		trace(run, psprintf("%s is lost", flight->type));
		return;
	}
	if (flight->command)
	{
		trace(run, psprintf("%s arrives", flight->type));
		world_receive(&run->world, flight);
		return;
	}
	input.event = definition_find_event(run->definition, flight->type);
	input.name = flight->type;
	input.message = flight->body;
	input.now = run->world.now;
	react(run->machine, &input, &effects);
	/* Deferred: it comes again later. */
	if (effects.outcome == OUTCOME_DEFERRED && !list_member_ptr(run->world.flights, flight))
		run->world.flights = lappend(run->world.flights, flight);
	after_reaction(run, flight->type, &effects, before);
	if (run->scenario->idempotent && run->violated == NULL)
		check_idempotent(run, &input);
}

static void
fire_next_timer(Run *run)
{
	ArmedTimer *timer = next_timer(run->machine);
	const char *event = definition_event_name(run->definition,
											  event_of_timer(run->definition, timer->timer));
	Effects		effects;
	int			before = run->machine->version;

	run->world.now = Max(run->world.now, timer->due);
	react_timer(run->machine, timer->timer, run->world.now, &effects);
	after_reaction(run, event, &effects, before);
}

/*
 * The same checks after whatever the instance reacted to.
 */
static void
after_reaction(Run *run, const char *event, const Effects *effects, int before)
{
	Machine    *machine = run->machine;

	trace(run, psprintf("%s: %s, version %d", event,
						definition_state(run->definition, machine->state)->name,
						machine->version));
	if (effects->outcome == OUTCOME_EFFECTIVE)
	{
		run->transitions++;
		if (machine->version != before + 1)
			violate(run, "version", psprintf("it rose from %d to %d", before, machine->version));
	}
	else if (machine->version != before || effects->messages != NIL || effects->events != NIL)
		violate(run, "version", "something was done without a transition");
	replay_actions(run, effects);
	world_take(&run->world, effects);
	make_placed(run);
	if (run->violated == NULL)
		check_timers(run);
	if (run->violated == NULL)
		check_invariants(run, false);
}

static void
check_invariants(Run *run, bool at_end)
{
	Document	document = {world_document(&run->world, run->machine), NULL};
	ListCell   *cell;

	foreach(cell, run->scenario->checks)
	{
		Check	   *check = lfirst(cell);

		if (check->at_end == at_end &&
			(check->when == NULL || path_holds(check->when, &document)) &&
			!path_holds(check->holds, &document))
		{
			violate(run, check->name,
					psprintf("%s does not hold for %s", check->holds->source,
							 tree_to_text(tree_without(document.root, "data"))));
			return;
		}
	}
}

static void
check_timers(Run *run)
{
	Machine    *machine = run->machine;
	State	   *state = definition_state(run->definition, machine->state);
	ArmedTimer *timer = next_timer(machine);

	if (!state->final && timer == NULL &&
		(state->timer == NULL || strcmp(state->timer, "owed") == 0))
		violate(run, "timers", psprintf("state \"%s\" has none", state->name));
	if (state->final && (timer != NULL) != (machine->outstanding != NIL))
		violate(run, "timers",
				psprintf("final state \"%s\" has %s", state->name,
						 timer != NULL ? "one for nothing" : "none for what is outstanding"));
}

/*
 * Folds the history; it must give the instance.
 */
static void
replay_actions(Run *run, const Effects *effects)
{
	Tree	   *actions = effects->actions;

	for (int i = 0; effects->outcome == OUTCOME_EFFECTIVE && i < actions->count; i++)
	{
		Tree	   *set = tree_get(actions->as.items[i], "set");
		Tree	   *unset = tree_get(actions->as.items[i], "unset");

		if (!tree_is_text(tree_get(actions->as.items[i], "action"), "data"))
			continue;
		for (int j = 0; set != NULL && j < set->count; j++)
			run->replayed = tree_with(run->replayed,
									  pnstrdup(set->as.members[j].key, set->as.members[j].length),
									  set->as.members[j].value);
		for (int j = 0; unset != NULL && j < unset->count; j++)
			run->replayed = tree_without(run->replayed, tree_to_text(unset->as.items[j]));
	}
	if (!tree_equal(run->replayed, run->machine->data))
		violate(run, "history", "it does not replay to the instance");
}

/*
 * The same message once more, on a copy: it must change nothing.
 */
static void
check_idempotent(Run *run, const Input *input)
{
	Machine    *copy = machine_copy(run->machine);
	Effects		effects;

	react(copy, input, &effects);
	if (effects.outcome == OUTCOME_EFFECTIVE)
		violate(run, "idempotent",
				psprintf("%s once more takes effect again: %s", input->name,
						 tree_to_text(effects.actions)));
}

static ArmedTimer *
next_timer(Machine *machine)
{
	ArmedTimer *retain = machine_armed(machine, TIMER_RETAIN);
	ArmedTimer *next = machine_next_timer(machine);
	ListCell   *cell;

	if (retain == NULL || next != retain)
		return next;
	next = NULL;
	foreach(cell, machine->timers)
		if (lfirst(cell) != retain &&
			(next == NULL || ((ArmedTimer *) lfirst(cell))->due < next->due))
			next = lfirst(cell);
	return next;
}

static void
violate(Run *run, const char *invariant, const char *problem)
{
	if (run->violated != NULL)
		return;
	run->violated = invariant;
	run->problem = problem;
}

/*
 * What led to a violation; of long schedules the beginning and the end.
 */
static void
trace(Run *run, const char *what)
{
	if (run->trace->count >= MAX_TRACE)
	{
		memmove(run->trace->as.items + MAX_TRACE / 2, run->trace->as.items + MAX_TRACE / 2 + 1,
				(MAX_TRACE / 2 - 1) * sizeof(Tree *));
		run->trace->count--;
		run->trace->as.items[MAX_TRACE / 2] = tree_text("...");
	}
	tree_append(run->trace, tree_text(what));
}

/*
 * Adds a schedule to the report, whose trees live longer.
 */
static void
note_end(Report *report, Run *run, int schedule)
{
	const char *state = run->machine == NULL || run->machine->version == 0
							? "none"
							: definition_state(run->definition, run->machine->state)->name;
	MemoryContext old;

	if (run->violated == NULL && run->scenario->orders > 1)
	{
		Document	document = {world_document(&run->world, run->machine), NULL};
		Tree	   *end = run->scenario->alike != NULL
							 ? template_evaluate(run->scenario->alike, &document)
							 : tree_with(tree_put_text(tree_object(), "state", state), "count",
										 tree_get(document.root, "count"));

		old = MemoryContextSwitchTo(report->context);
		if (schedule % run->scenario->orders == 0)
			report->group_end = tree_copy(end);
		MemoryContextSwitchTo(old);
		if (report->group_end != NULL && !tree_equal(report->group_end, end))
			violate(run, "confluence",
					psprintf("another order of the same ended as %s, this one as %s",
							 tree_to_text(report->group_end), tree_to_text(end)));
	}
	old = MemoryContextSwitchTo(report->context);
	report->schedules++;
	report->transitions += run->transitions;
	tree_put(report->end_states, pstrdup(state),
			 tree_int(tree_to_int(tree_get(report->end_states, state), 0) + 1));
	if (run->violated != NULL)
		note_violation(report, run, schedule);
	MemoryContextSwitchTo(old);
}

static void
note_violation(Report *report, Run *run, int schedule)
{
	Tree	   *violation = tree_object();

	if (report->violation_count++ >= MAX_VIOLATIONS)
		return;
	tree_put(violation, "schedule", tree_int(schedule));
	tree_put_text(violation, "invariant", pstrdup(run->violated));
	tree_put_text(violation, "problem", pstrdup(run->problem));
	tree_put(violation, "trace", tree_copy(run->trace));
	tree_append(report->violations, violation);
}

static Tree *
report_tree(const Report *report)
{
	Tree	   *tree = tree_object();

	tree_put(tree, "schedules", tree_int(report->schedules));
	tree_put(tree, "transitions", tree_int(report->transitions));
	tree_put(tree, "end_states", report->end_states);
	tree_put(tree, "violation_count", tree_int(report->violation_count));
	return tree_put(tree, "violations", report->violations);
}

PG_FUNCTION_INFO_V1(saga_simulate);

Datum
saga_simulate(PG_FUNCTION_ARGS)
{
	Definition *definition;

	definition_cache_refresh();
	definition = definition_require(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	PG_RETURN_JSONB_P(tree_to_jsonb(simulate(definition, tree_from_jsonb(PG_GETARG_JSONB_P(1)),
											 PG_GETARG_INT32(2), PG_GETARG_INT64(3))));
}
