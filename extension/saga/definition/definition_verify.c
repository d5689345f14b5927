/*
 * definition_verify.c
 *		What a definition must keep to before it may run.
 *
 * The parser has named what is malformed; here the definition is looked at as a
 * graph.  An edge leads from each state to wherever one of its transitions goes,
 * guards being taken to hold; a compensation leads from the state it goes on in
 * to the one it ends or gives up in.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "message_bus/message_bus.h"
#include "saga/definition/definition.h"

typedef struct Graph
{
	const Definition *definition;
	List	  **problems;
	int			count;			/* states */
	bool	   *started;		/* [state]: a start transition leads here */
	bool	   *reach;			/* [from * count + to], in one step or more */
	bool	   *given_up;		/* [state]: a compensation gives up into it */
	bool	   *entered;		/* [state]: something else leads here */
	bool	   *compensating;	/* [state]: a compensation goes on in it */
	bool	   *scheduled;		/* [timer * count + state]: set on a way into the state */
	bool	   *armed;			/* [timer]: set anywhere */
} Graph;

/* A transition and where it stands; state NULL is the start. */
typedef void (*VisitTransition) (Graph *graph, State *state, const char *event,
								 Transition *transition);

static void visit_part(Graph *graph, State *state, VisitTransition visit);
static void visit_linked(Graph *graph, VisitTransition visit);
static void visit_start(Graph *graph, VisitTransition visit);
static void add_edges(Graph *graph, State *state, const char *event, Transition *transition);
static void add_schedules(Graph *graph, State *state, const char *event, Transition *transition);
static void close_graph(Graph *graph);
static void check_state(Graph *graph, int index);
static void check_decided(Graph *graph, State *state);
static void check_timer(Graph *graph, int index);
static void check_transition(Graph *graph, State *state, const char *event,
							 Transition *transition);
static void check_timer_set(Graph *graph, const char *state, const char *event, int timer);
static void check_timers_used(Graph *graph);
static void check_steps(Graph *graph);
static void check_endpoint(Graph *graph, const char *state, const char *event,
						   const char *type, const char *endpoint);

/*
 * Appends whatever is wrong with a definition that parsed.
 */
void
definition_verify(const Definition *definition, List **problems)
{
	Graph		graph = {definition, problems, list_length(definition->states)};
	int			timers = list_length(definition->timers);
	ListCell   *cell;

	graph.started = palloc0(Max(graph.count, 1) * sizeof(bool));
	graph.given_up = palloc0(Max(graph.count, 1) * sizeof(bool));
	graph.entered = palloc0(Max(graph.count, 1) * sizeof(bool));
	graph.compensating = palloc0(Max(graph.count, 1) * sizeof(bool));
	graph.reach = palloc0(Max(graph.count * graph.count, 1) * sizeof(bool));
	graph.scheduled = palloc0(Max(timers * graph.count, 1) * sizeof(bool));
	graph.armed = palloc0(timers * sizeof(bool));
	visit_start(&graph, add_edges);
	visit_linked(&graph, add_edges);
	close_graph(&graph);
	visit_start(&graph, add_schedules);
	visit_linked(&graph, add_schedules);
	if (definition->cancel != NULL)
		add_schedules(&graph, NULL, "cancel", definition->cancel);

	for (int i = 0; i < graph.count; i++)
		check_state(&graph, i);
	check_timers_used(&graph);
	visit_start(&graph, check_transition);
	foreach(cell, definition->commons)
		visit_part(&graph, lfirst(cell), check_transition);
	foreach(cell, definition->states)
		visit_part(&graph, lfirst(cell), check_transition);
	if (definition->cancel != NULL)
		check_transition(&graph, NULL, "cancel", definition->cancel);
	foreach(cell, definition->owed)
	{
		Owed	   *rule = lfirst(cell);

		check_endpoint(&graph, psprintf("owed.%s", rule->name), NULL, rule->type, rule->endpoint);
	}
	check_steps(&graph);
	definition_check(definition, problems);
}

/*
 * The transitions that stand in a state or common part itself.
 */
static void
visit_part(Graph *graph, State *state, VisitTransition visit)
{
	ListCell   *reaction_cell;
	ListCell   *cell;

	foreach(reaction_cell, state->on)
	{
		Reaction   *reaction = lfirst(reaction_cell);

		foreach(cell, reaction->transitions)
			visit(graph, state, reaction->event, lfirst(cell));
	}
	foreach(cell, state->own_always)
		visit(graph, state, "always", lfirst(cell));
}

/*
 * The transitions of every state, included ones with the state they work in.
 */
static void
visit_linked(Graph *graph, VisitTransition visit)
{
	ListCell   *state_cell;
	ListCell   *cell;

	foreach(state_cell, graph->definition->states)
	{
		State	   *state = lfirst(state_cell);

		for (int i = 0; i < reaction_count(graph->definition); i++)
			if (state->reactions[i] != NULL)
				foreach(cell, state->reactions[i]->transitions)
					visit(graph, state, state->reactions[i]->event, lfirst(cell));
		foreach(cell, state->always)
			visit(graph, state, "always", lfirst(cell));
	}
}

static void
visit_start(Graph *graph, VisitTransition visit)
{
	ListCell   *cell;

	for (int i = 0; i < list_length(graph->definition->events); i++)
	{
		Reaction  **start = graph->definition->start;
		Reaction   *reaction = start == NULL ? NULL : start[i];

		if (reaction != NULL)
			foreach(cell, reaction->transitions)
				visit(graph, NULL, reaction->event, lfirst(cell));
	}
}

static int
state_index(Graph *graph, const State *state)
{
	for (int i = 0; i < graph->count; i++)
		if (definition_state(graph->definition, i) == state)
			return i;
	return NOWHERE;
}

/*
 * Where a transition leads: its target, else it stays.
 */
static int
destination(Graph *graph, State *state, Transition *transition)
{
	if (transition->target != NOWHERE)
		return transition->target;
	return state != NULL ? state_index(graph, state) : graph->definition->initial;
}

static void
add_edges(Graph *graph, State *state, const char *event, Transition *transition)
{
	int			from = state == NULL ? NOWHERE : state_index(graph, state);
	int			to = destination(graph, state, transition);
	CompensateAction *compensate = transition->compensate;
	bool		gave_up = strncmp(event, "gave_up:", 8) == 0;

	if (to == NOWHERE)
		return;
	if (from == NOWHERE)
		graph->started[to] = true;
	else
		graph->reach[from * graph->count + to] = true;
	if (gave_up)
		graph->given_up[to] = true;
	else if (from != to)
		graph->entered[to] = true;
	if (compensate == NULL)
		return;
	graph->compensating[to] = true;
	if (compensate->then != NOWHERE)
	{
		graph->reach[to * graph->count + compensate->then] = true;
		graph->entered[compensate->then] = true;
	}
	if (compensate->give_up != NOWHERE)
	{
		graph->reach[to * graph->count + compensate->give_up] = true;
		graph->given_up[compensate->give_up] = true;
	}
}

static void
close_graph(Graph *graph)
{
	int			n = graph->count;

	for (int via = 0; via < n; via++)
		for (int from = 0; from < n; from++)
		{
			CHECK_FOR_INTERRUPTS();
			for (int to = 0; to < n; to++)
				if (graph->reach[from * n + via] && graph->reach[via * n + to])
					graph->reach[from * n + to] = true;
		}
}

/*
 * A timer is set for every state that can follow.
 */
static void
note_schedule(Graph *graph, int timer, int from)
{
	if (timer == NOWHERE)
		return;
	graph->armed[timer] = true;
	for (int to = 0; from != NOWHERE && to < graph->count; to++)
		if (from == to || graph->reach[from * graph->count + to])
			graph->scheduled[timer * graph->count + to] = true;
}

static void
add_schedules(Graph *graph, State *state, const char *event, Transition *transition)
{
	int			to = destination(graph, state, transition);
	ListCell   *cell;

	foreach(cell, transition->schedules)
		note_schedule(graph, ((ScheduleAction *) lfirst(cell))->timer, to);
	foreach(cell, transition->sends)
		note_schedule(graph, ((SendAction *) lfirst(cell))->timer, to);
}

/*
 * What hangs together with how states are reached is not said where something
 * leads to nowhere: that is the problem.
 */
static void
check_state(Graph *graph, int index)
{
	State	   *state = definition_state(graph->definition, index);
	bool		reached = graph->started[index];
	bool		ends = state->final;

	for (int i = 0; i < graph->count; i++)
	{
		if (graph->started[i] && graph->reach[i * graph->count + index])
			reached = true;
		if (definition_state(graph->definition, i)->final &&
			graph->reach[index * graph->count + i])
			ends = true;
	}
	check_decided(graph, state);
	if (graph->definition->broken_path)
		return;
	if (!reached)
		definition_problem(graph->problems, "error", state->name, NULL,
						   "state \"%s\" is not reachable", state->name);
	if (!ends && !(graph->given_up[index] && !graph->entered[index]))
		definition_problem(graph->problems, "error", state->name, NULL,
						   "state \"%s\" does not reach a final state", state->name);
	if (reached)
		check_timer(graph, index);
}

/*
 * Each event must be decided: by a transition without guard, by the reaction's
 * own word or by the state's default.
 */
static void
check_decided(Graph *graph, State *state)
{
	for (int i = 0; i < list_length(graph->definition->events); i++)
	{
		Reaction   *reaction = state->reactions[i];
		bool		decided = state->otherwise != DECIDE_UNDECIDED;
		bool		defers = reaction == NULL && state->otherwise == DECIDE_DEFER;
		ListCell   *cell;

		if (reaction != NULL)
		{
			decided = decided || reaction->otherwise != DECIDE_UNDECIDED;
			defers = reaction->otherwise == DECIDE_DEFER;
			foreach(cell, reaction->transitions)
				if (((Transition *) lfirst(cell))->guard == NULL)
					decided = true;
		}
		if (!decided)
			definition_problem(graph->problems, "error", state->name,
							   definition_event(graph->definition, i)->name,
							   "event \"%s\" is not decided in state \"%s\"",
							   definition_event(graph->definition, i)->name, state->name);
		if (defers && state->final)
			definition_problem(graph->problems, "warning", state->name,
							   definition_event(graph->definition, i)->name,
							   "event \"%s\" is deferred in final state \"%s\" and will expire",
							   definition_event(graph->definition, i)->name, state->name);
	}
}

static void
check_timer(Graph *graph, int index)
{
	const Definition *definition = graph->definition;
	State	   *state = definition_state(definition, index);

	if (state->final || graph->compensating[index])
		return;
	if (state->timer != NULL)
	{
		if (strcmp(state->timer, "owed") == 0 && definition->owed == NIL)
			definition_problem(graph->problems, "error", state->name, NULL,
							   "state \"%s\" has timer \"owed\", but nothing is ever owed",
							   state->name);
		return;
	}
	for (int timer = TIMER_BUILT_IN; timer < list_length(definition->timers); timer++)
	{
		Reaction   *reaction = state->reactions[event_of_timer(definition, timer)];

		if (reaction != NULL && reaction->transitions != NIL &&
			graph->scheduled[timer * graph->count + index])
			return;
	}
	definition_problem(graph->problems, "error", state->name, NULL,
					   "state \"%s\" has no timer and does not say that it needs none",
					   state->name);
}

/*
 * What one transition refers to outside the definition.
 */
static void
check_transition(Graph *graph, State *state, const char *event, Transition *transition)
{
	const char *name = state == NULL ? NULL : state->name;
	ListCell   *cell;

	foreach(cell, transition->sends)
	{
		SendAction *send = lfirst(cell);

		check_endpoint(graph, name, event, send->type, send->endpoint);
		if (send->compensation != NULL)
			check_endpoint(graph, name, event, send->compensation->type,
						   send->compensation->endpoint);
		if (send->owed != NOWHERE && (send->fact == NULL || send->fact->fact !=
									  definition_owed(graph->definition, send->owed)->fact))
			definition_problem(graph->problems, "error", name, event,
							   "command \"%s\" is undone by rule \"%s\", but makes no record for it",
							   send->type, definition_owed(graph->definition, send->owed)->name);
	}
	foreach(cell, transition->unschedule)
		check_timer_set(graph, name, event, lfirst_int(cell));
	if (transition->compensate != NULL)
		foreach(cell, transition->compensate->steps)
		{
			bool		found = false;
			ListCell   *send_cell;

			foreach(send_cell, graph->definition->sends)
				if (strcmp(((SendAction *) lfirst(send_cell))->step, lfirst(cell)) == 0)
					found = true;
			if (!found)
				definition_problem(graph->problems, "error", name, event,
								   "\"order\" names step \"%s\", which does not exist",
								   (char *) lfirst(cell));
		}
}

static void
check_endpoint(Graph *graph, const char *state, const char *event, const char *type,
			   const char *endpoint)
{
	if (endpoint == NULL || type == NULL)
		return;					/* the parser said so */
	if (graph->definition->endpoint != NULL && strcmp(endpoint, graph->definition->endpoint) == 0)
		return;
	if (!message_bus_endpoint_exists(endpoint))
		definition_problem(graph->problems, "error", state, event,
						   "endpoint \"%s\" of command \"%s\" does not exist", endpoint, type);
}

/*
 * Says once of a timer that nobody sets it.
 */
static void
check_timer_set(Graph *graph, const char *state, const char *event, int timer)
{
	if (graph->armed[timer])
		return;
	graph->armed[timer] = true;
	definition_problem(graph->problems, "error", state, event, "timer \"%s\" is never scheduled",
					   definition_timer(graph->definition, timer));
}

/*
 * A timer that some state waits for but nobody sets is most likely misspelt.
 */
static void
check_timers_used(Graph *graph)
{
	const Definition *definition = graph->definition;

	for (int timer = TIMER_BUILT_IN; timer < list_length(definition->timers); timer++)
	{
		ListCell   *cell;

		if (graph->armed[timer])
			continue;
		foreach(cell, definition->states)
		{
			State	   *state = lfirst(cell);

			if (state->reactions[event_of_timer(definition, timer)] != NULL)
				check_timer_set(graph, state->name,
								psprintf("timer:%s", definition_timer(definition, timer)), timer);
		}
	}
}

/*
 * A step's compensation is found by its name, so there can be only one; and so is
 * the command that a timer repeats.
 */
static void
check_steps(Graph *graph)
{
	List	   *sends = graph->definition->sends;

	for (int i = 0; i < list_length(sends); i++)
	{
		SendAction *send = list_nth(sends, i);

		for (int j = 0; send->compensation != NULL && j < i; j++)
		{
			SendAction *other = list_nth(sends, j);

			if (other->compensation != NULL && strcmp(other->step, send->step) == 0 &&
				(strcmp(other->compensation->type, send->compensation->type) != 0 ||
				 strcmp(other->compensation->endpoint, send->compensation->endpoint) != 0))
				definition_problem(graph->problems, "error", NULL, NULL,
								   "step \"%s\" has two different compensations", send->step);
		}
		for (int j = 0; send->timer != NOWHERE && j < i; j++)
		{
			SendAction *other = list_nth(sends, j);

			if (other->timer == send->timer && strcmp(other->step, send->step) == 0 &&
				(strcmp(other->type, send->type) != 0 ||
				 !tree_equal(tree_get(other->source, "body"), tree_get(send->source, "body"))))
				definition_problem(graph->problems, "error", NULL, NULL,
								   "timer \"%s\" resends two different commands of step \"%s\"",
								   definition_timer(graph->definition, send->timer), send->step);
		}
	}
}
