/*
 * fact_parse.c
 *		From JSON to facts, their lattices, and the rules of what is owed.
 *
 *		"facts": {"shp": {"keep": "latest",
 *						  "lattice": {"none": ["requested"],
 *									  "requested": ["arranged", "failed"], ...},
 *						  "late": {"failed": ["arranged"]}}}
 *
 * An event may take several edges at once (a delivery implies the dispatch, in
 * whatever order they are heard of), but never across a status that only the
 * saga itself sets: nobody can have answered what was not asked.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "saga/definition/definition_parse.h"

#define NO_STATUS "none"

static Fact *parse_fact(Parser *p, const char *name, const Tree *tree);
static void collect_statuses(Parser *p, Fact *fact, const Tree *lattice);
static void parse_edges(Parser *p, Fact *fact, const Tree *edges, bool *matrix);
static void close_lattice(const Fact *fact, bool *matrix, const bool *through);
static void parse_rule(Parser *p, Owed *owed, const Tree *tree);
static void check_rule(Parser *p, Owed *owed);
static FactChange *parse_change(Parser *p, const Tree *tree, const char *known);
static int	add_status(Fact *fact, const char *status);

void
parse_facts(Parser *p, const Tree *facts)
{
	for (int i = 0; i < facts->count; i++)
	{
		char	   *name = member_name(facts, i);
		const Tree *tree = facts->as.members[i].value;

		p->state = psprintf("facts.%s", name);
		if (strcmp(name, "earlier") == 0)
			parse_problem(p, "\"earlier\" is where older records are kept");
		if (parse_is_object(p, tree, "the fact"))
			p->definition->facts = lappend(p->definition->facts, parse_fact(p, name, tree));
		p->state = NULL;
	}
}

static Fact *
parse_fact(Parser *p, const char *name, const Tree *tree)
{
	Fact	   *fact = palloc0(sizeof(Fact));
	Tree	   *lattice = tree_get(tree, "lattice");
	Tree	   *late = tree_get(tree, "late");
	char	   *keep = parse_text(p, tree, "keep", true);
	int			cells;

	parse_keys(p, tree, "a fact", "keep lattice late description");
	fact->name = name;
	fact->many = keep != NULL && strcmp(keep, "all") == 0;
	if (keep != NULL && !fact->many && strcmp(keep, "latest") != 0)
		parse_problem(p, "\"keep\" must be \"latest\" or \"all\"");
	(void) add_status(fact, NO_STATUS);
	if (parse_is_object(p, lattice, "\"lattice\""))
		collect_statuses(p, fact, lattice);
	cells = fact->status_count * fact->status_count;
	fact->edge = palloc0(cells * sizeof(bool));
	fact->late = palloc0(cells * sizeof(bool));
	fact->grows = palloc0(cells * sizeof(bool));
	fact->reach = palloc0(cells * sizeof(bool));
	fact->told = palloc0(fact->status_count * sizeof(bool));
	fact->own = palloc0(fact->status_count * sizeof(bool));
	if (lattice != NULL && lattice->type == TREE_OBJECT)
		parse_edges(p, fact, lattice, fact->edge);
	if (late != NULL && parse_is_object(p, late, "\"late\""))
		parse_edges(p, fact, late, fact->late);
	return fact;
}

static void
collect_statuses(Parser *p, Fact *fact, const Tree *lattice)
{
	if (tree_get(lattice, NO_STATUS) == NULL)
		parse_problem(p, "the lattice does not begin with \"%s\"", NO_STATUS);
	for (int i = 0; i < lattice->count; i++)
	{
		Tree	   *next = as_list(lattice->as.members[i].value);

		(void) add_status(fact, member_name(lattice, i));
		for (int j = 0; j < next->count; j++)
		{
			if (next->as.items[j]->type == TREE_STRING)
				(void) add_status(fact, tree_to_text(next->as.items[j]));
			else
				parse_problem(p, "a status must be a string");
		}
	}
}

static void
parse_edges(Parser *p, Fact *fact, const Tree *edges, bool *matrix)
{
	for (int i = 0; i < edges->count; i++)
	{
		int			from = fact_find_status(fact, member_name(edges, i));
		Tree	   *next = as_list(edges->as.members[i].value);

		for (int j = 0; j < next->count; j++)
		{
			int			to = next->as.items[j]->type != TREE_STRING
						 ? NOWHERE
						 : fact_find_status(fact, tree_to_text(next->as.items[j]));

			if (from == NOWHERE || to == NOWHERE)
				parse_problem(p, "\"late\" names a status that is not in the lattice");
			else
				matrix[fact_cell(fact, from, to)] = true;
		}
	}
}

/*
 * Events may go on through a status, but not through one that is the saga's own;
 * which those are is known when all transitions are parsed.
 */
void
finish_facts(Parser *p)
{
	ListCell   *cell;

	foreach(cell, p->definition->facts)
	{
		Fact	   *fact = lfirst(cell);
		bool	   *all = palloc(fact->status_count * sizeof(bool));

		for (int i = 0; i < fact->status_count; i++)
		{
			fact->own[i] = fact->own[i] && !fact->told[i];
			all[i] = true;
		}
		close_lattice(fact, fact->reach, all);
		for (int i = 0; i < fact->status_count; i++)
			all[i] = !fact->own[i];
		close_lattice(fact, fact->grows, all);
	}
}

/*
 * From where to where one gets, stopping only at the given statuses.
 */
static void
close_lattice(const Fact *fact, bool *matrix, const bool *through)
{
	int			n = fact->status_count;

	memcpy(matrix, fact->edge, n * n * sizeof(bool));
	for (int via = 0; via < n; via++)
		for (int from = 0; through[via] && from < n; from++)
		{
			CHECK_FOR_INTERRUPTS();
			for (int to = 0; to < n; to++)
				if (matrix[fact_cell(fact, from, via)] && matrix[fact_cell(fact, via, to)])
					matrix[fact_cell(fact, from, to)] = true;
		}
}

/*
 * What an event tells: {"of": fact, "key": path, "to": status, ...}.
 */
FactChange *
parse_event_fact(Parser *p, const Tree *tree)
{
	FactChange *change;
	Fact	   *fact;

	if (!parse_is_object(p, tree, "\"fact\""))
		return NULL;
	change = parse_change(p, tree, "guard of key to create set note most");
	if (change == NULL)
		return NULL;
	fact = definition_fact(p->definition, change->fact);
	change->guard = parse_path(p, tree, "guard");
	change->create = parse_flag(p, tree, "create");
	change->note = parse_template(p, tree, "note");
	change->most = parse_template(p, tree, "most");
	if (change->key == NULL)
		change->key = template_compile_text("$.message.key");
	if (change->to != NOWHERE)
		fact->told[change->to] = true;
	return change;
}

/*
 * What the saga does to a record: {"of": fact, "key": path, "to": status, "set": ...}.
 */
FactChange *
parse_own_fact(Parser *p, const Tree *tree)
{
	FactChange *change = parse_change(p, tree, "of key to set");

	if (change != NULL && change->to != NOWHERE)
		definition_fact(p->definition, change->fact)->own[change->to] = true;
	return change;
}

static FactChange *
parse_change(Parser *p, const Tree *tree, const char *known)
{
	FactChange *change = palloc0(sizeof(FactChange));
	char	   *of = parse_text(p, tree, "of", true);
	char	   *to = parse_text(p, tree, "to", false);

	parse_keys(p, tree, "\"fact\"", known);
	change->to = NOWHERE;
	change->fact = of == NULL ? NOWHERE : definition_find_fact(p->definition, of);
	if (of != NULL && change->fact == NOWHERE)
		parse_problem(p, "\"of\" names \"%s\", which is not listed in \"facts\"", of);
	if (change->fact == NOWHERE)
		return NULL;
	if (to != NULL)
	{
		change->to = fact_find_status(definition_fact(p->definition, change->fact), to);
		if (change->to == NOWHERE)
			parse_problem(p, "fact \"%s\" has no status \"%s\"", of, to);
	}
	change->key = parse_template(p, tree, "key");
	change->set = parse_template(p, tree, "set");
	return change;
}

/*
 * A set of statuses as an array of flags; without a list, all but the first.
 */
bool *
parse_statuses(Parser *p, const Fact *fact, Tree *list, const char *what)
{
	bool	   *in = palloc0(fact->status_count * sizeof(bool));
	Tree	   *statuses = as_list(list);

	if (list == NULL)
		memset(in + 1, true, (fact->status_count - 1) * sizeof(bool));
	for (int i = 0; i < statuses->count; i++)
	{
		int			status = statuses->as.items[i]->type != TREE_STRING
						 ? NOWHERE
						 : fact_find_status(fact, tree_to_text(statuses->as.items[i]));

		if (status == NOWHERE)
			parse_problem(p, "%s names %s, which is no status of fact \"%s\"", what,
						  tree_to_text(statuses->as.items[i]), fact->name);
		else
			in[status] = true;
	}
	return in;
}

/*
 * The rules' names alone, for those who refer to them.
 */
void
parse_owed_names(Parser *p, const Tree *owed)
{
	for (int i = 0; i < owed->count; i++)
	{
		Owed	   *rule = palloc0(sizeof(Owed));

		rule->name = member_name(owed, i);
		rule->fact = NOWHERE;
		rule->to = NOWHERE;
		p->definition->owed = lappend(p->definition->owed, rule);
	}
}

void
parse_owed(Parser *p, const Tree *owed)
{
	for (int i = 0; i < owed->count; i++)
	{
		Owed	   *rule = definition_owed(p->definition, i);

		p->state = psprintf("owed.%s", rule->name);
		if (parse_is_object(p, owed->as.members[i].value, "the rule"))
		{
			parse_rule(p, rule, owed->as.members[i].value);
			if (rule->fact != NOWHERE)
				check_rule(p, rule);
		}
		p->state = NULL;
	}
}

static void
parse_rule(Parser *p, Owed *rule, const Tree *tree)
{
	char	   *each = parse_text(p, tree, "each", true);
	char	   *to = parse_text(p, tree, "to", true);
	Tree	   *after = as_list(tree_get(tree, "after"));

	parse_keys(p, tree, "a rule",
			   "each in when after to endpoint type schema_version body resend give_up_after then_every"
			   " refused_by"
			   " description");
	rule->guard = parse_path(p, tree, "when");
	rule->endpoint = parse_text(p, tree, "endpoint", true);
	rule->type = parse_text(p, tree, "type", true);
	rule->body = parse_template(p, tree, "body");
	rule->resend = parse_backoff(p, tree, "resend");
	rule->give_up_after = parse_interval(p, tree, "give_up_after", 0);
	rule->then_every = parse_interval(p, tree, "then_every", 0);
	rule->schema_version = parse_schema_version(p, tree);
	for (int i = 0; i < after->count; i++)
	{
		int			other = definition_find_owed(p->definition,
												 tree_to_text(after->as.items[i]));

		if (other == NOWHERE || definition_owed(p->definition, other) == rule)
			parse_problem(p, "\"after\" names \"%s\", which is no other rule",
						  tree_to_text(after->as.items[i]));
		else
			rule->after = lappend_int(rule->after, other);
	}
	rule->refusals = parse_refusals(p, tree_get(tree, "refused_by"));
	if (rule->body != NULL && template_mentions(rule->body, "message"))
		parse_problem(p, "the body of a command that is resent must not depend on $.message");
	rule->fact = each == NULL ? NOWHERE : definition_find_fact(p->definition, each);
	if (rule->fact == NOWHERE)
	{
		if (each != NULL)
			parse_problem(p, "\"each\" names \"%s\", which is not listed in \"facts\"", each);
		return;
	}
	rule->in = parse_statuses(p, definition_fact(p->definition, rule->fact),
							  tree_get(tree, "in"), "\"in\"");
	if (to != NULL)
		rule->to = fact_find_status(definition_fact(p->definition, rule->fact), to);
	if (to != NULL && rule->to == NOWHERE)
		parse_problem(p, "fact \"%s\" has no status \"%s\"", each, to);
}

/*
 * The status that the command leads to must be allowed from all it starts at,
 * and still be owed, or the command would never be repeated.
 */
static void
check_rule(Parser *p, Owed *rule)
{
	Fact	   *fact = definition_fact(p->definition, rule->fact);

	if (rule->to == NOWHERE)
		return;
	fact->own[rule->to] = true;
	if (!rule->in[rule->to])
		parse_problem(p, "\"in\" lacks \"%s\", the status in which the answer is awaited",
					  fact->statuses[rule->to]);
	for (int from = 0; from < fact->status_count; from++)
		if (rule->in[from] && from != rule->to && !fact->edge[fact_cell(fact, from, rule->to)])
			parse_problem(p, "the lattice of \"%s\" has no edge from \"%s\" to \"%s\"",
						  fact->name, fact->statuses[from], fact->statuses[rule->to]);
}

/*
 * {"RefundFailed": guard}: answers after which a compensation is given up at once.
 */
List *
parse_refusals(Parser *p, const Tree *tree)
{
	List	   *refusals = NIL;

	if (tree == NULL || !parse_is_object(p, tree, "\"refused_by\""))
		return NIL;
	for (int i = 0; i < tree->count; i++)
	{
		Refusal    *refusal = palloc0(sizeof(Refusal));
		char	   *event = member_name(tree, i);

		refusal->event = definition_find_event(p->definition, event);
		if (refusal->event == NOWHERE)
			parse_problem(p, "\"refused_by\" names event \"%s\", which is not listed in \"events\"",
						  event);
		refusal->guard = parse_path(p, tree, event);
		refusals = lappend(refusals, refusal);
	}
	return refusals;
}

int
fact_find_status(const Fact *fact, const char *status)
{
	for (int i = 0; i < fact->status_count; i++)
		if (strcmp(fact->statuses[i], status) == 0)
			return i;
	return NOWHERE;
}

static int
add_status(Fact *fact, const char *status)
{
	int			at = fact_find_status(fact, status);

	if (at != NOWHERE)
		return at;
	fact->statuses = fact->status_count == 0
						 ? palloc(sizeof(char *))
						 : repalloc(fact->statuses, (fact->status_count + 1) * sizeof(char *));
	fact->statuses[fact->status_count] = pstrdup(status);
	return fact->status_count++;
}
