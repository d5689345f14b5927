/*
 * fact.c
 *		The records of facts inside a saga's data.
 *
 * A fact that keeps the latest record has it under its name and the ones before
 * under "earlier"; a fact that keeps all has an array.  Status and notes of a
 * record only grow, so what is heard twice or in another order changes nothing.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "saga/machine/fact.h"

#define EARLIER "earlier"

static Tree *fact_store(Tree *data, const Fact *fact, Tree *record);
static bool is_record(const Tree *tree);
static Tree *write_attributes(Tree *record, Tree *set);
static Tree *note_unknown(Tree *record, const Tree *note, bool *grew);
static Tree *keep_most(Tree *record, const Tree *most, bool *grew);
static Tree *take_over(Tree *record, const Tree *news, bool *grew);
static int	find_key(const Tree *records, const char *key);

/*
 * All records, oldest first.  Data is the user's, saga.update() may put anything
 * in; what is no record is passed over.
 */
List *
fact_records(const Tree *data, const Fact *fact)
{
	Tree	   *own = tree_get(data, fact->name);
	Tree	   *older = fact->many ? own : tree_get(tree_get(data, EARLIER), fact->name);
	List	   *result = NIL;

	for (int i = 0; older != NULL && older->type == TREE_ARRAY && i < older->count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (is_record(older->as.items[i]))
			result = lappend(result, older->as.items[i]);
	}
	if (!fact->many && is_record(own))
		result = lappend(result, own);
	return result;
}

Tree *
fact_find(const Tree *data, const Fact *fact, const char *key)
{
	Tree	   *own = tree_get(data, fact->name);
	Tree	   *older = fact->many ? own : tree_get(tree_get(data, EARLIER), fact->name);
	int			at = older == NULL ? NOWHERE : find_key(older, key);

	if (at != NOWHERE)
		return older->as.items[at];
	return !fact->many && tree_is_text(tree_get(own, "key"), key) ? own : NULL;
}

Tree *
fact_latest(const Tree *data, const Fact *fact)
{
	List	   *records = fact_records(data, fact);

	return records == NIL ? NULL : llast(records);
}

/*
 * The status of a record; what is unknown to the lattice counts as none.
 */
int
fact_status(const Fact *fact, const Tree *record)
{
	char	   *st = record == NULL ? NULL : tree_get_text(record, "st");
	int			status = st == NULL ? 0 : fact_find_status(fact, st);

	return status == NOWHERE ? 0 : status;
}

/*
 * Data with a record in the place of the one with its key; a new key becomes the
 * latest record.
 */
static Tree *
fact_store(Tree *data, const Fact *fact, Tree *record)
{
	char	   *key = tree_get_text(record, "key");
	Tree	   *own = tree_get(data, fact->name);
	Tree	   *earlier = tree_get(data, EARLIER);
	Tree	   *older = fact->many ? own : tree_get(earlier, fact->name);
	int			at = older == NULL ? NOWHERE : find_key(older, key);

	if (older == NULL || older->type != TREE_ARRAY)
		older = tree_array();
	if (at != NOWHERE)
		older = tree_with_item(older, at, record);
	else if (fact->many)
		older = tree_with_appended(older, record);
	else
	{
		/* It is the latest record, or becomes it. */
		if (!is_record(own) || tree_is_text(tree_get(own, "key"), key))
			return tree_with(data, fact->name, record);
		older = tree_with_appended(older, own);
		data = tree_with(data, fact->name, record);
	}
	if (fact->many)
		return tree_with(data, fact->name, older);
	return tree_with(data, EARLIER,
					 tree_with(earlier == NULL ? tree_object() : earlier, fact->name, older));
}

/*
 * What an event tells about the record with the given key.  Along the lattice it
 * may take several edges at once.  A late edge, against what was expected, is
 * taken only for something that was not known before.  What may only rise counts
 * as long as the event's status does: of a record that has gone on it tells nothing.
 */
Growth
fact_hear(Tree *data, const Fact *fact, const FactChange *change, const char *key,
		  Document *document)
{
	Tree	   *record = fact_find(data, fact, key);
	Growth		growth = {data};
	Tree	   *risen;
	bool		noted = false;
	bool		rose = false;
	bool		moves = false;
	bool		late = false;

	if (record == NULL && !change->create)
	{
		growth.conflict = true;
		return growth;
	}
	if (record == NULL)
		record = tree_put_text(tree_object(), "key", key);
	growth.from = growth.to = fact_status(fact, record);
	if (change->note != NULL)
		record = note_unknown(record, template_evaluate(change->note, document), &noted);
	risen = record;
	if (change->most != NULL)
		risen = keep_most(record, template_evaluate(change->most, document), &rose);
	if (change->to != NOWHERE && change->to != growth.from)
	{
		int			cell = fact_cell(fact, growth.from, change->to);

		late = fact->late[cell] &&
			(noted || rose || (change->note == NULL && change->most == NULL));
		moves = fact->grows[cell] || late;
		growth.conflict = !moves && !fact->late[cell] &&
			!fact->reach[fact_cell(fact, change->to, growth.from)];
	}
	if (moves)
		growth.to = change->to;
	if (change->to == NOWHERE || change->to == growth.to)
		record = risen;
	else
		rose = false;
	if (moves)
	{
		if (change->set != NULL)
			record = write_attributes(record, template_patch(change->set, document));
		record = tree_with(record, "st", tree_text(fact->statuses[change->to]));
		if (late)
			record = tree_with(record, "late", tree_bool(true));
	}
	growth.grew = noted || rose || moves;
	if (growth.grew)
		growth.data = fact_store(data, fact, record);
	return growth;
}

/*
 * What the saga itself does to a record: a status (NOWHERE: it stays), along one
 * edge of the lattice, and attributes.
 */
Growth
fact_do(Tree *data, const Fact *fact, int to, Tree *record, Tree *set)
{
	Growth		growth = {data};

	growth.from = growth.to = fact_status(fact, record);
	if (to != NOWHERE && to != growth.from)
	{
		if (!fact->edge[fact_cell(fact, growth.from, to)])
		{
			growth.conflict = true;
			return growth;
		}
		growth.to = to;
		record = tree_with(record, "st", tree_text(fact->statuses[to]));
	}
	if (set != NULL)
		record = write_attributes(record, set);
	growth.grew = true;
	growth.data = fact_store(data, fact, record);
	return growth;
}

static bool
is_record(const Tree *tree)
{
	const Tree *key = tree_get(tree, "key");

	return key != NULL && key->type == TREE_STRING;
}

/*
 * Merges attributes into a record; whose it is and how it stands are not among them.
 */
static Tree *
write_attributes(Tree *record, Tree *set)
{
	Tree	   *st = tree_get(record, "st");
	Tree	   *written = tree_with(tree_merge(record, set), "key", tree_get(record, "key"));

	return st == NULL ? tree_without(written, "st") : tree_with(written, "st", st);
}

/*
 * Adds the members that the record does not have yet; null tells nothing.
 */
static Tree *
note_unknown(Tree *record, const Tree *note, bool *grew)
{
	Tree	   *news = tree_object();

	for (int i = 0; note->type == TREE_OBJECT && i < note->count; i++)
	{
		TreeMember *member = &note->as.members[i];
		Tree	   *known = tree_get_n(record, member->key, member->length);

		CHECK_FOR_INTERRUPTS();
		if (member->value->type != TREE_NULL && (known == NULL || known->type == TREE_NULL))
			tree_put(news, pnstrdup(member->key, member->length), member->value);
	}
	return take_over(record, news, grew);
}

/*
 * Takes over the members that are greater than what the record has.
 */
static Tree *
keep_most(Tree *record, const Tree *most, bool *grew)
{
	Tree	   *news = tree_object();

	for (int i = 0; most->type == TREE_OBJECT && i < most->count; i++)
	{
		TreeMember *member = &most->as.members[i];
		Tree	   *known = tree_get_n(record, member->key, member->length);

		CHECK_FOR_INTERRUPTS();
		if (member->value->type != TREE_NULL &&
			(known == NULL || known->type != member->value->type ||
			 tree_compare(member->value, known) > 0))
			tree_put(news, pnstrdup(member->key, member->length), member->value);
	}
	return take_over(record, news, grew);
}

static Tree *
take_over(Tree *record, const Tree *news, bool *grew)
{
	if (news->count == 0)
		return record;
	*grew = true;
	return tree_with_members(record, news);
}

static int
find_key(const Tree *records, const char *key)
{
	for (int i = 0; records->type == TREE_ARRAY && i < records->count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (tree_is_text(tree_get(records->as.items[i], "key"), key))
			return i;
	}
	return NOWHERE;
}
