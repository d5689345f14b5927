/*
 * definition.c
 *		What is found in a definition by its name, and where its problems go.
 */
#include "postgres.h"

#include "saga/definition/definition.h"

static int	find_named(const List *list, const char *name);

int
definition_find_event(const Definition *definition, const char *name)
{
	return find_named(definition->events, name);
}

int
definition_find_state(const Definition *definition, const char *name)
{
	return find_named(definition->states, name);
}

int
definition_find_timer(const Definition *definition, const char *name)
{
	for (int i = 0; i < list_length(definition->timers); i++)
		if (strcmp(definition_timer(definition, i), name) == 0)
			return i;
	return NOWHERE;
}

int
definition_find_fact(const Definition *definition, const char *name)
{
	return find_named(definition->facts, name);
}

int
definition_find_owed(const Definition *definition, const char *name)
{
	return find_named(definition->owed, name);
}

/* All structs that are looked up by name begin with it. */
static int
find_named(const List *list, const char *name)
{
	for (int i = 0; i < list_length(list); i++)
		if (strcmp(*(const char **) list_nth(list, i), name) == 0)
			return i;
	return NOWHERE;
}

/*
 * The name of an event, timer:... and gave_up:... included, by its index.
 */
const char *
definition_event_name(const Definition *definition, int event)
{
	int			timer = event - list_length(definition->events);
	int			rule = timer - list_length(definition->timers);

	if (timer < 0)
		return definition_event(definition, event)->name;
	if (rule < 0)
		return psprintf("timer:%s", definition_timer(definition, timer));
	return psprintf("gave_up:%s", definition_owed(definition, rule)->name);
}

/*
 * Under which name a function that a definition calls is registered.
 */
char *
definition_call_name(const Definition *definition, const char *signature)
{
	return registration_name("saga %s %d: %s", definition->name, definition->version, signature);
}

/*
 * Adds a problem; state and event may be NULL.
 */
void
definition_problem(List **problems, const char *severity, const char *state,
				   const char *event, const char *format, ...)
{
	Problem    *problem = palloc0(sizeof(Problem));
	va_list		arguments;
	char		text[1200];

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	problem->severity = severity;
	problem->state = state;
	problem->event = event == NULL ? NULL : pstrdup(event);
	problem->problem = pstrdup(text);
	*problems = lappend(*problems, problem);
}
