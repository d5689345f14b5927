/*
 * definition_parse.c
 *		From the JSON document to a compiled definition: the frame of it.
 *
 * Names come first (events, facts, states, rules), so that transitions can refer
 * to whatever stands later in the document; timers get their index when they are
 * first mentioned.  Transitions are in transition_parse.c, facts and what is
 * owed in fact_parse.c.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "pg/cache.h"
#include "saga/definition/definition_parse.h"

#define DEFAULT_PARK_FOR INT64CONST(600000)	/* 10 minutes */
#define DEFAULT_RETAIN_FOR INT64CONST(2592000000)	/* 30 days */

static const struct
{
	const char *name;
	Decision	decision;
}			decisions[] = {
	{"ignore", DECIDE_IGNORE},
	{"defer", DECIDE_DEFER},
	{"fault", DECIDE_FAULT},
};

static bool mentions_envelope(const Tree *tree);
static void parse_document(Parser *p, const Tree *document);
static void check_conditions(Parser *p, const Tree *conditions);
static void parse_events(Parser *p, const Tree *events);
static void parse_event_facts(Parser *p, const Tree *events);
static List *parse_state_names(Parser *p, const Tree *states, const char *what);
static void parse_states(Parser *p, const Tree *states, List *parsed, bool common);
static void parse_state(Parser *p, State *state, const Tree *tree, bool common);
static void parse_on(Parser *p, State *state, const Tree *on);
static void parse_start(Parser *p, const Tree *start);
static void find_initial(Parser *p);
static void parse_cancel(Parser *p, const Tree *cancel);
static Transition *default_cancel(const Definition *definition);
static Decision parse_decision(Parser *p, const Tree *tree, const char *what);
static int	find_reaction_event(const Definition *definition, const char *name);
static void link_definition(Parser *p);
static void link_state(Parser *p, State *state);

/*
 * Parses a definition into the current memory context.  Problems are appended;
 * with any of severity error the result must not be run.
 */
Definition *
definition_parse(const char *name, Jsonb *document, List **problems)
{
	Definition *definition = cache_alloc0(CurrentMemoryContext, sizeof(Definition));
	Parser		parser = {definition, problems};

	definition->context = CurrentMemoryContext;
	definition->name = pstrdup(name);
	definition->document = parse_json(&parser, document);
	definition->cancel_event = NOWHERE;
	definition->initial = NOWHERE;
	definition->uses_envelope = mentions_envelope(definition->document);
	definition->timers = list_make2(pstrdup("compensate"), pstrdup("retain"));
	if (parse_is_object(&parser, definition->document, "the definition"))
		parse_document(&parser, definition->document);
	return definition;
}

/*
 * Whether any path, or a function, might read the envelope.
 */
static bool
mentions_envelope(const Tree *tree)
{
	check_stack_depth();
	if (tree->type == TREE_STRING)
		return strstr(tree_to_text(tree), "$.envelope") != NULL;
	for (int i = 0; tree->type == TREE_ARRAY && i < tree->count; i++)
		if (mentions_envelope(tree->as.items[i]))
			return true;
	for (int i = 0; tree->type == TREE_OBJECT && i < tree->count; i++)
		if (strcmp(member_name(tree, i), "call") == 0 ||
			mentions_envelope(tree->as.members[i].value))
			return true;
	return false;
}

static void
parse_document(Parser *p, const Tree *document)
{
	Definition *definition = p->definition;
	Tree	   *events = tree_get(document, "events");
	Tree	   *facts = tree_get(document, "facts");
	Tree	   *owed = tree_get(document, "owed");
	Tree	   *states = tree_get(document, "states");
	Tree	   *commons = tree_get(document, "common");
	Tree	   *start = tree_get(document, "start");

	parse_keys(p, document, "the definition",
			   "description endpoint initial park_for retain_for conditions commands events facts"
			   " owed common start states cancel given");
	definition->endpoint = parse_text(p, document, "endpoint", false);
	definition->park_for = parse_interval(p, document, "park_for", DEFAULT_PARK_FOR);
	definition->retain_for = parse_interval(p, document, "retain_for", DEFAULT_RETAIN_FOR);

	check_conditions(p, tree_get(document, "conditions"));
	if (parse_is_object(p, events, "\"events\""))
		parse_events(p, events);
	if (facts != NULL && parse_is_object(p, facts, "\"facts\""))
		parse_facts(p, facts);
	if (parse_is_object(p, states, "\"states\""))
		definition->states = parse_state_names(p, states, "state");
	if (commons != NULL && parse_is_object(p, commons, "\"common\""))
		definition->commons = parse_state_names(p, commons, "common part");
	if (owed != NULL && parse_is_object(p, owed, "\"owed\""))
		parse_owed_names(p, owed);

	definition->initial = parse_state_name(p, document, "initial");
	if (events != NULL && events->type == TREE_OBJECT)
		parse_event_facts(p, events);
	if (commons != NULL && commons->type == TREE_OBJECT)
		parse_states(p, commons, definition->commons, true);
	if (states != NULL && states->type == TREE_OBJECT)
		parse_states(p, states, definition->states, false);
	if (parse_is_object(p, start, "\"start\""))
		parse_start(p, start);
	else
		definition->broken_path = true;
	if (tree_get(document, "initial") == NULL)
		find_initial(p);
	if (definition->initial == NOWHERE)
		definition->broken_path = true;
	if (tree_get(document, "cancel") != NULL)
		parse_cancel(p, tree_get(document, "cancel"));
	if (list_length(definition->owed) > 0)
		parse_owed(p, owed);
	finish_facts(p);
	link_definition(p);
	if (tree_get(document, "cancel") == NULL)
		definition->cancel = default_cancel(definition);
}

/*
 * Conditions are used by name in guards; each must be a path by itself.
 */
static void
check_conditions(Parser *p, const Tree *conditions)
{
	if (conditions == NULL || !parse_is_object(p, conditions, "\"conditions\""))
		return;
	for (int i = 0; i < conditions->count; i++)
	{
		char	   *name = member_name(conditions, i);

		p->event = psprintf("conditions.%s", name);
		(void) parse_path(p, conditions, name);
		p->event = NULL;
	}
}

/*
 * The names and correlation paths; what events tell is parsed when the facts
 * are known.
 */
static void
parse_events(Parser *p, const Tree *events)
{
	for (int i = 0; i < events->count; i++)
	{
		SagaEvent  *event = palloc0(sizeof(SagaEvent));
		Tree	   *tree = events->as.members[i].value;

		event->name = member_name(events, i);
		p->definition->events = lappend(p->definition->events, event);
		p->event = event->name;
		if (strchr(event->name, ':') != NULL || event->name[0] == '\0')
			parse_problem(p, "\"%s\" is no name of an event", event->name);
		if (parse_is_object(p, tree, "the event"))
		{
			parse_keys(p, tree, "an event", "correlate fact description");
			event->correlate = parse_path(p, tree, "correlate");
		}
		p->event = NULL;
	}
}

static void
parse_event_facts(Parser *p, const Tree *events)
{
	for (int i = 0; i < events->count; i++)
	{
		SagaEvent  *event = definition_event(p->definition, i);
		Tree	   *facts = as_list(tree_get(events->as.members[i].value, "fact"));

		p->event = event->name;
		for (int j = 0; j < facts->count; j++)
		{
			FactChange *change = parse_event_fact(p, facts->as.items[j]);

			if (change != NULL)
				event->facts = lappend(event->facts, change);
		}
		p->event = NULL;
	}
}

static List *
parse_state_names(Parser *p, const Tree *states, const char *what)
{
	List	   *result = NIL;

	for (int i = 0; i < states->count; i++)
	{
		State	   *state = palloc0(sizeof(State));

		state->name = member_name(states, i);
		state->otherwise = DECIDE_UNDECIDED;
		if (state->name[0] == '\0' || strlen(state->name) > 255)
			parse_problem(p, "a %s needs a name of 1 to 255 bytes", what);
		result = lappend(result, state);
	}
	return result;
}

static void
parse_states(Parser *p, const Tree *states, List *parsed, bool common)
{
	for (int i = 0; i < states->count; i++)
	{
		State	   *state = list_nth(parsed, i);

		p->state = state->name;
		if (parse_is_object(p, states->as.members[i].value, "the state"))
			parse_state(p, state, states->as.members[i].value, common);
		p->state = NULL;
	}
}

static void
parse_state(Parser *p, State *state, const Tree *tree, bool common)
{
	char	   *kind = common ? NULL : parse_text(p, tree, "kind", false);
	Tree	   *on = tree_get(tree, "on");
	Tree	   *include = as_list(tree_get(tree, "include"));

	parse_keys(p, tree, common ? "a common part" : "a state",
			   common ? "on always description"
					  : "kind default timer include on always description");
	state->final = kind != NULL && strcmp(kind, "final") == 0;
	if (kind != NULL && !state->final && strcmp(kind, "normal") != 0)
		parse_problem(p, "kind \"%s\" is neither normal nor final", kind);
	if (tree_get(tree, "default") != NULL)
		state->otherwise = parse_decision(p, tree_get(tree, "default"), "the default");
	state->timer = parse_text(p, tree, "timer", false);
	if (state->timer != NULL && strcmp(state->timer, "none") != 0 &&
		strcmp(state->timer, "owed") != 0)
		parse_problem(p, "\"timer\" is \"%s\", not \"none\" or \"owed\"", state->timer);
	for (int i = 0; i < include->count; i++)
	{
		State	   *part = NULL;
		ListCell   *cell;

		foreach(cell, p->definition->commons)
			if (tree_is_text(include->as.items[i], ((State *) lfirst(cell))->name))
				part = lfirst(cell);
		if (part == NULL)
			parse_problem(p, "there is no common part \"%s\"",
						  tree_to_text(include->as.items[i]));
		else
			state->include = lappend(state->include, part);
	}
	if (on != NULL && parse_is_object(p, on, "\"on\""))
		parse_on(p, state, on);
	if (tree_get(tree, "always") != NULL)
	{
		p->event = "always";
		state->own_always = parse_transitions(p, tree_get(tree, "always"));
		p->event = NULL;
	}
}

static void
parse_on(Parser *p, State *state, const Tree *on)
{
	for (int i = 0; i < on->count; i++)
	{
		Reaction   *reaction = palloc0(sizeof(Reaction));
		Tree	   *value = on->as.members[i].value;

		reaction->event = p->event = member_name(on, i);
		reaction->otherwise = DECIDE_UNDECIDED;
		if (strncmp(reaction->event, "timer:", 6) == 0)
			(void) parse_timer_name(p, reaction->event + 6);
		else if (strncmp(reaction->event, "gave_up:", 8) == 0)
		{
			if (definition_find_owed(p->definition, reaction->event + 8) == NOWHERE)
				parse_problem(p, "there is no rule \"%s\" in \"owed\"", reaction->event + 8);
		}
		else if (definition_find_event(p->definition, reaction->event) == NOWHERE)
			parse_problem(p, "event \"%s\" is not listed in \"events\"", reaction->event);
		if (value->type == TREE_STRING)
			reaction->otherwise = parse_decision(p, value, "the reaction");
		else
			reaction->transitions = parse_transitions(p, value);
		state->on = lappend(state->on, reaction);
		p->event = NULL;
	}
}

static void
parse_start(Parser *p, const Tree *start)
{
	Definition *definition = p->definition;

	definition->start = palloc0(Max(list_length(definition->events), 1) * sizeof(Reaction *));
	if (start->count == 0)
		parse_problem(p, "\"start\" names no event");
	for (int i = 0; i < start->count; i++)
	{
		Reaction   *reaction = palloc0(sizeof(Reaction));
		ListCell   *cell;
		int			event;

		reaction->event = p->event = member_name(start, i);
		reaction->otherwise = DECIDE_UNDECIDED;
		reaction->transitions = parse_transitions(p, start->as.members[i].value);
		foreach(cell, reaction->transitions)
			((Transition *) lfirst(cell))->starts = true;
		event = definition_find_event(definition, reaction->event);
		definition->broken_path = definition->broken_path || event == NOWHERE;
		if (event == NOWHERE)
			parse_problem(p, "start event \"%s\" is not listed in \"events\"", reaction->event);
		else
			definition->start[event] = reaction;
		p->event = NULL;
	}
}

/*
 * Without "initial" the first start transition says where instances begin, and the
 * others have to say it too.
 */
static void
find_initial(Parser *p)
{
	Definition *definition = p->definition;
	ListCell   *cell;

	foreach(cell, definition->transitions)
	{
		const Transition *transition = lfirst(cell);

		if (!transition->starts)
			continue;
		if (definition->initial == NOWHERE)
			definition->initial = transition->target;
		if (transition->target == NOWHERE && tree_get(transition->source, "goto") == NULL)
		{
			parse_problem(p, "\"initial\" is missing, and a start transition has no \"goto\"");
			return;
		}
	}
}

/*
 * {"as": event, "body": template}, or a transition.
 */
static void
parse_cancel(Parser *p, const Tree *cancel)
{
	p->event = "cancel";
	if (parse_is_object(p, cancel, "\"cancel\""))
	{
		if (tree_get(cancel, "as") == NULL)
			p->definition->cancel = parse_transition(p, cancel);
		else
		{
			parse_keys(p, cancel, "\"cancel\"", "as body");
			p->definition->cancel_event = parse_event_name(p, cancel, "as");
			p->definition->cancel_body = parse_template(p, cancel, "body");
			if (p->definition->cancel_body == NULL)
				parse_problem(p, "\"cancel\" needs a \"body\" for its event");
		}
	}
	p->event = NULL;
}

/*
 * Without a word about cancelling: what the first transition that compensates does
 * to undo the steps, NULL if none does.
 */
static Transition *
default_cancel(const Definition *definition)
{
	ListCell   *state_cell;
	ListCell   *reaction_cell;
	ListCell   *cell;

	foreach(state_cell, definition->states)
	{
		foreach(reaction_cell, ((State *) lfirst(state_cell))->on)
		{
			foreach(cell, ((Reaction *) lfirst(reaction_cell))->transitions)
			{
				Transition *found = lfirst(cell);
				Transition *cancel;

				if (found->compensate == NULL)
					continue;
				cancel = palloc0(sizeof(Transition));
				cancel->label = "cancelled by an operator";
				cancel->each = NOWHERE;
				cancel->unschedule_all = true;
				cancel->compensate = found->compensate;
				cancel->target = found->target;
				return cancel;
			}
		}
	}
	return NULL;
}

static Decision
parse_decision(Parser *p, const Tree *tree, const char *what)
{
	for (int i = 0; i < lengthof(decisions); i++)
		if (tree_is_text(tree, decisions[i].name))
			return decisions[i].decision;
	parse_problem(p, "%s must be \"ignore\", \"defer\" or \"fault\"", what);
	return DECIDE_IGNORE;
}

/*
 * Resolves names of events to indexes and includes to reactions, now that all
 * timers are known.
 */
static void
link_definition(Parser *p)
{
	ListCell   *cell;

	foreach(cell, p->definition->states)
		link_state(p, lfirst(cell));
}

static void
link_state(Parser *p, State *state)
{
	List	   *parts = list_concat(list_copy(state->include), list_make1(state));
	ListCell   *cell;
	ListCell   *reaction_cell;

	state->reactions = palloc0(reaction_count(p->definition) * sizeof(Reaction *));
	/* Its own part comes last and wins; of included ones the first. */
	for (int i = list_length(parts) - 2; i >= -1; i--)
	{
		State	   *part = i >= 0 ? list_nth(parts, i) : state;

		foreach(reaction_cell, part->on)
		{
			Reaction   *reaction = lfirst(reaction_cell);
			int			event = find_reaction_event(p->definition, reaction->event);

			if (event != NOWHERE)
				state->reactions[event] = reaction;
		}
	}
	/* Included rules come first: what is common stands above the state's own. */
	foreach(cell, parts)
		state->always = list_concat(state->always, ((State *) lfirst(cell))->own_always);
}

static int
find_reaction_event(const Definition *definition, const char *name)
{
	int			index;

	if (strncmp(name, "timer:", 6) == 0)
	{
		index = definition_find_timer(definition, name + 6);
		return index == NOWHERE ? NOWHERE : event_of_timer(definition, index);
	}
	if (strncmp(name, "gave_up:", 8) == 0)
	{
		index = definition_find_owed(definition, name + 8);
		return index == NOWHERE ? NOWHERE : event_of_give_up(definition, index);
	}
	return definition_find_event(definition, name);
}
