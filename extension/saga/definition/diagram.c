/*
 * diagram.c
 *		A definition drawn: Mermaid's stateDiagram-v2, or Graphviz' digraph.
 *
 * One edge per transition, labelled with its event and, where it has one, why or
 * on which guard it is taken.  Transitions that stay are edges to the state itself.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "saga/definition/definition.h"

typedef struct Drawing
{
	const Definition *definition;
	bool		dot;
	StringInfoData text;
} Drawing;

static void draw_nodes(Drawing *drawing);
static void draw_reactions(Drawing *drawing, int from);
static void draw_transitions(Drawing *drawing, int from, const char *event,
							 const List *transitions);
static void draw_edge(Drawing *drawing, int from, int to, const char *event, const char *why);
static char *node(Drawing *drawing, int state);
static char *quoted(const char *text, bool dot);

/*
 * The diagram in format mermaid or dot.
 */
char *
definition_diagram(const Definition *definition, const char *format)
{
	Drawing		drawing = {definition, strcmp(format, "dot") == 0};

	if (!drawing.dot && strcmp(format, "mermaid") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown format \"%s\" of a diagram", format),
				 errhint("There are mermaid and dot.")));
	initStringInfo(&drawing.text);
	if (drawing.dot)
		appendStringInfo(&drawing.text, "digraph \"%s\" {\n\trankdir=LR;\n\tnode [shape=box];\n",
						 quoted(definition->name, true));
	else
		appendStringInfoString(&drawing.text, "stateDiagram-v2\n");
	draw_nodes(&drawing);
	for (int i = 0; i < list_length(definition->events); i++)
		if (definition->start[i] != NULL)
			draw_transitions(&drawing, NOWHERE, definition_event(definition, i)->name,
							 definition->start[i]->transitions);
	for (int i = 0; i < list_length(definition->states); i++)
		draw_reactions(&drawing, i);
	for (int i = 0; i < list_length(definition->states); i++)
		if (definition_state(definition, i)->final && !drawing.dot)
			appendStringInfo(&drawing.text, "\t%s --> [*]\n", node(&drawing, i));
	if (drawing.dot)
		appendStringInfoString(&drawing.text, "}\n");
	return drawing.text.data;
}

static void
draw_nodes(Drawing *drawing)
{
	for (int i = 0; i < list_length(drawing->definition->states); i++)
	{
		State	   *state = definition_state(drawing->definition, i);

		if (drawing->dot)
			appendStringInfo(&drawing->text, "\t%s%s;\n", node(drawing, i),
							 state->final ? " [peripheries=2]" : "");
		else if (strcmp(node(drawing, i), state->name) != 0)
			appendStringInfo(&drawing->text, "\tstate \"%s\" as s%d\n",
							 quoted(state->name, false), i);
	}
	if (drawing->dot)
		appendStringInfoString(&drawing->text, "\tstart [shape=point];\n");
}

static void
draw_reactions(Drawing *drawing, int from)
{
	const Definition *definition = drawing->definition;
	State	   *state = definition_state(definition, from);

	for (int event = 0; event < reaction_count(definition); event++)
	{
		Reaction   *reaction = state->reactions[event];

		if (reaction == NULL)
			continue;
		draw_transitions(drawing, from, reaction->event, reaction->transitions);
		if (reaction->otherwise == DECIDE_DEFER)
			draw_edge(drawing, from, from, reaction->event, "defer");
	}
	draw_transitions(drawing, from, NULL, state->always);
}

/*
 * event NULL: a rule that always holds; its guard or reason is all there is to say.
 */
static void
draw_transitions(Drawing *drawing, int from, const char *event, const List *transitions)
{
	ListCell   *cell;

	foreach(cell, transitions)
	{
		Transition *transition = lfirst(cell);
		int			to = transition->target != NOWHERE ? transition->target
				 : from != NOWHERE			   ? from
											   : drawing->definition->initial;
		const char *why = transition->label != NULL	  ? transition->label
						  : transition->guard != NULL ? transition->guard->source
													  : NULL;

		draw_edge(drawing, from, to, event, why);
		if (transition->compensate == NULL)
			continue;
		draw_edge(drawing, to, transition->compensate->then, "compensated", NULL);
		draw_edge(drawing, to, transition->compensate->give_up, "given up", NULL);
	}
}

static void
draw_edge(Drawing *drawing, int from, int to, const char *event, const char *why)
{
	StringInfoData label;
	char	   *edge;
	const char *source = from != NOWHERE ? node(drawing, from) : drawing->dot ? "start"
																			  : "[*]";

	initStringInfo(&label);
	if (event != NULL)
		appendStringInfoString(&label, event);
	if (why != NULL)
		appendStringInfo(&label, event != NULL ? " [%s]" : "[%s]", why);
	if (drawing->dot)
		edge = psprintf("\t%s -> %s [label=\"%s\"];\n", source, node(drawing, to),
						quoted(label.data, true));
	else
		edge = psprintf("\t%s --> %s : %s\n", source, node(drawing, to),
						quoted(label.data, false));
	/* Several transitions can lead to one compensation. */
	if (strstr(drawing->text.data, edge) == NULL)
		appendStringInfoString(&drawing->text, edge);
}

/*
 * A state's name where the format wants an identifier.
 */
static char *
node(Drawing *drawing, int state)
{
	const char *name = definition_state(drawing->definition, state)->name;

	if (drawing->dot)
		return psprintf("\"%s\"", quoted(name, true));
	for (const char *at = name; *at != '\0'; at++)
		if (!isalnum((unsigned char) *at) && *at != '_')
			return psprintf("s%d", state);
	return pstrdup(name);
}

/*
 * Text as it may stand in a label.  In Mermaid a semicolon ends the line, a quote
 * the name, and a number sign begins an entity.
 */
static char *
quoted(const char *text, bool dot)
{
	StringInfoData result;

	initStringInfo(&result);
	for (const char *at = text; *at != '\0'; at++)
	{
		if (dot && (*at == '"' || *at == '\\'))
			appendStringInfoChar(&result, '\\');
		if (!dot && (*at == ';' || *at == '#' || *at == '"'))
			appendStringInfo(&result, "#%d;", (unsigned char) *at);
		else
			appendStringInfoChar(&result, *at == '\n' ? ' ' : *at);
	}
	return result.data;
}
