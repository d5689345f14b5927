/*
 * world.c
 *		The world around a simulated saga: participants and messages on their way.
 *
 * A participant keeps a record per step key.  For each command it says what it
 * may do with a record in each status, and what it answers; what it does not
 * mention it does not notice.  Things that happen by themselves (a hold expires,
 * a parcel leaves) are deeds without a command.
 */
#include "postgres.h"

#include "common/hashfn.h"

#include "base/errors.h"
#include "base/order.h"
#include "saga/simulate/world.h"

#define NO_STATUS "none"
#define MAX_WEIGHT 1000

static Participant *parse_participant(const char *name, const Tree *tree, const Tree *bodies);
static void parse_choices(Participant *participant, const char *command, const Tree *by_status,
						  const Tree *bodies);
static Deed *parse_deed(const Tree *tree, const Tree *bodies);
static Reply *parse_reply(const Tree *tree, const Tree *bodies);
static Tree *body_over(const Tree *bodies, const char *key, Tree *body);
static Check *parse_check(const Tree *tree);
static void do_deed(World *world, const Participant *participant, const char *key,
					const Deed *deed, const Flight *command, const char *times);
static List *possible_deeds(World *world, const Participant *participant, const Tree *record);
static Tree *find_record(World *world, const Participant *participant, const char *key);
static Choice *find_choice(const Participant *participant, const char *command,
						   const char *status);
static void store_record(World *world, const Participant *participant, Tree *record);
static void count_up(Tree **counts, const char *type);
static char *key_at(const Tree *object, int index);
static Tree *listed(Tree *tree);
static Tree *object_at(const Tree *object, const char *key);
static char *required(const Tree *object, const char *key);
static void check_keys(const Tree *object, const char *what, const char *known);
static int	count_at(const Tree *object, const char *key, int otherwise);
static bool flag_at(const Tree *object, const char *key, bool otherwise);

/*
 * Parses a scenario; SG005 tells what is wrong with it.
 */
Scenario *
scenario_parse(const Tree *tree)
{
	Scenario   *scenario = palloc0(sizeof(Scenario));
	Tree	   *start = tree_get(tree, "start");
	Tree	   *participants = object_at(tree, "participants");
	Tree	   *requests = listed(tree_get(tree, "requests"));
	Tree	   *checks = listed(tree_get(tree, "invariants"));
	Tree	   *faults = tree_get(tree, "faults");

	check_keys(tree, "the scenario",
			   "start participants replies requests invariants faults idempotent orders alike"
			   " patient exhaustive must_end max_steps description");
	check_keys(start, "\"start\" of the scenario", "type body");
	check_keys(faults, "\"faults\" of the scenario", "drops duplicates timeouts");
	scenario->start_type = required(start, "type");
	scenario->start_body = tree_get(start, "body") ? tree_get(start, "body") : tree_object();
	for (int i = 0; i < participants->count; i++)
		scenario->participants = lappend(scenario->participants,
										 parse_participant(key_at(participants, i),
														   participants->as.members[i].value,
														   object_at(tree, "replies")));
	for (int i = 0; i < requests->count; i++)
	{
		Tree	   *request = requests->as.items[i];
		List	  **list = tree_get(request, "in") ? &scenario->placed : &scenario->requests;

		check_keys(request, "a request", "type body in");
		(void) required(request, "type");
		*list = lappend(*list, request);
	}
	for (int i = 0; i < checks->count; i++)
		scenario->checks = lappend(scenario->checks, parse_check(checks->as.items[i]));
	scenario->exhaustive = flag_at(tree, "exhaustive", false);
	scenario->idempotent = flag_at(tree, "idempotent", false);
	scenario->patient = flag_at(tree, "patient", false);
	scenario->must_end = flag_at(tree, "must_end", true);
	scenario->orders = (int) greater(count_at(tree, "orders", 1), 1);
	if (tree_get(tree, "alike") != NULL)
		scenario->alike = template_compile(tree_get(tree, "alike"));
	scenario->drops = count_at(faults, "drops", 0);
	scenario->duplicates = count_at(faults, "duplicates", 0);
	scenario->timeouts = count_at(faults, "timeouts", 0);
	scenario->max_steps = count_at(tree, "max_steps", 500);
	return scenario;
}

/*
 * {"commands": {command: {status: deed or deeds}}, "happens": {status: deed or deeds}}
 */
static Participant *
parse_participant(const char *name, const Tree *tree, const Tree *bodies)
{
	Participant *participant = palloc0(sizeof(Participant));
	Tree	   *commands = object_at(tree, "commands");

	check_keys(tree, "a participant", "commands happens");
	participant->name = name;
	for (int i = 0; i < commands->count; i++)
		parse_choices(participant, key_at(commands, i), commands->as.members[i].value,
					  bodies);
	parse_choices(participant, NULL, object_at(tree, "happens"), bodies);
	return participant;
}

static void
parse_choices(Participant *participant, const char *command, const Tree *by_status,
			  const Tree *bodies)
{
	for (int i = 0; by_status->type == TREE_OBJECT && i < by_status->count; i++)
	{
		Choice	   *choice = palloc0(sizeof(Choice));
		Tree	   *deeds = listed(by_status->as.members[i].value);

		choice->command = command;
		choice->status = key_at(by_status, i);
		for (int j = 0; j < deeds->count; j++)
		{
			Deed	   *deed = parse_deed(deeds->as.items[j], bodies);
			int			weight = count_at(deeds->as.items[j], "weight", 1);

			for (int k = Min(weight, MAX_WEIGHT); k > 0; k--)
				choice->deeds = lappend(choice->deeds, deed);
		}
		if (choice->deeds == NIL)
			ereport(ERROR,
					(errcode(ERRCODE_SG_TEMPLATE),
					 errmsg("participant \"%s\" has nothing to do when \"%s\"",
							participant->name, choice->status),
					 errhint("Write {} for a deed that does nothing.")));
		participant->choices = lappend(participant->choices, choice);
	}
}

static Deed *
parse_deed(const Tree *tree, const Tree *bodies)
{
	Deed	   *deed = palloc0(sizeof(Deed));
	Tree	   *replies = listed(tree_get(tree, "reply"));

	deed->to = tree_get_text(tree, "to");
	check_keys(tree, "a deed", "to set reply weight at_most");
	deed->at_most = count_at(tree, "at_most", 0);
	if (tree_get(tree, "set") != NULL)
		deed->set = template_compile(tree_get(tree, "set"));
	for (int i = 0; i < replies->count; i++)
		deed->replies = lappend(deed->replies, parse_reply(replies->as.items[i], bodies));
	return deed;
}

/*
 * A type, or {type, body}.  What its body does not say is as in the scenario's "replies".
 */
static Reply *
parse_reply(const Tree *tree, const Tree *bodies)
{
	Reply	   *reply = palloc0(sizeof(Reply));
	Tree	   *body = body_over(bodies, "*", tree_object());

	if (tree->type == TREE_STRING)
		reply->type = tree_to_text(tree);
	else
	{
		check_keys(tree, "a reply", "type body");
		reply->type = required(tree, "type");
	}
	body = body_over(bodies, reply->type, body);
	body = body_over(tree, "body", body);
	reply->body = template_compile(body);
	return reply;
}

/*
 * The body with what stands under a key laid over it.
 */
static Tree *
body_over(const Tree *bodies, const char *key, Tree *body)
{
	Tree	   *over = bodies->type == TREE_OBJECT ? tree_get(bodies, key) : NULL;

	if (over == NULL)
		return body;
	if (over->type != TREE_OBJECT || body->type != TREE_OBJECT)
		return over;
	return tree_with_members(body, over);
}

static Check *
parse_check(const Tree *tree)
{
	Check	   *check = palloc0(sizeof(Check));
	char	   *when = tree_get_text(tree, "when");

	check_keys(tree, "an invariant", "name when holds at_end");
	check->name = required(tree, "name");
	check->at_end = flag_at(tree, "at_end", false);
	check->when = when == NULL ? NULL : path_compile(when);
	check->holds = path_compile(required(tree, "holds"));
	return check;
}

/*
 * A participant gets a command.
 */
void
world_receive(World *world, const Flight *command)
{
	ListCell   *cell;

	foreach(cell, world->scenario->participants)
	{
		Participant *participant = lfirst(cell);
		Tree	   *record = find_record(world, participant, command->key);
		char	   *status = record == NULL ? NO_STATUS : tree_get_text(record, "st");
		Choice	   *choice = find_choice(participant, command->type, status);
		char	   *times = psprintf("%s when %s", command->type, status);
		int64		nth = tree_to_int(tree_get(tree_get(record, "seen"), times), 0);
		uint64		hash;

		if (choice == NULL)
			continue;
		hash = hash_bytes_extended((const unsigned char *) command->key,
								   (int) strlen(command->key), world->deed_seed + nth);
		hash = hash_bytes_extended((const unsigned char *) times, (int) strlen(times), hash);
		do_deed(
			world, participant, command->key,
			list_nth(choice->deeds, world->scenario->exhaustive
										? world->choose(world->chooser, list_length(choice->deeds))
										: (int) (hash % list_length(choice->deeds))),
			command, times);
	}
}

/*
 * How many things could happen by themselves now.
 */
int
world_can_happen(World *world)
{
	int			count = 0;
	ListCell   *cell;

	foreach(cell, world->scenario->participants)
	{
		Participant *participant = lfirst(cell);
		Tree	   *records = listed(tree_get(world->records, participant->name));

		for (int i = 0; i < records->count; i++)
			count += list_length(possible_deeds(world, participant, records->as.items[i]));
	}
	return count;
}

/*
 * Makes one of them happen; says which, for the trace.
 */
const char *
world_happen(World *world, int which)
{
	ListCell   *cell;

	foreach(cell, world->scenario->participants)
	{
		Participant *participant = lfirst(cell);
		Tree	   *records = listed(tree_get(world->records, participant->name));

		for (int i = 0; i < records->count; i++)
		{
			Tree	   *record = records->as.items[i];
			List	   *deeds = possible_deeds(world, participant, record);

			if (which < list_length(deeds))
			{
				Deed	   *deed = list_nth(deeds, which);

				do_deed(world, participant, tree_get_text(record, "key"), deed, NULL, NULL);
				return psprintf("%s happens to be %s", participant->name,
								deed->to != NULL ? deed->to : tree_get_text(record, "st"));
			}
			which -= list_length(deeds);
		}
	}
	return "nothing happens";
}

/*
 * What may happen to a record by itself: deeds whose limit is not used up.
 */
static List *
possible_deeds(World *world, const Participant *participant, const Tree *record)
{
	Choice	   *choice = find_choice(participant, NULL, tree_get_text(record, "st"));
	List	   *possible = NIL;
	ListCell   *cell;
	ListCell   *done;

	if (choice == NULL)
		return NIL;
	foreach(cell, choice->deeds)
	{
		Deed	   *deed = lfirst(cell);
		int			times = 0;

		foreach(done, world->done)
			times += lfirst(done) == deed ? 1 : 0;
		if (deed->at_most == 0 || times < deed->at_most)
			possible = lappend(possible, deed);
	}
	return possible;
}

static void
do_deed(World *world, const Participant *participant, const char *key, const Deed *deed,
		const Flight *command, const char *times)
{
	Tree	   *record = find_record(world, participant, key);
	Document	document = {tree_object(), NULL};
	ListCell   *cell;

	if (record == NULL)
		record = tree_put_text(tree_put_text(tree_object(), "key", key), "st", NO_STATUS);
	if (deed->at_most > 0)
		world->done = lappend(world->done, unconstify(Deed *, deed));
	if (command != NULL)
	{
		Tree	   *seen = tree_get(record, "seen");

		if (seen == NULL)
			seen = tree_object();
		record = tree_with(record, "seen",
						   tree_with(seen, times,
									 tree_int(tree_to_int(tree_get(seen, times), 0) + 1)));
		tree_put(document.root, "command", command->body);
	}
	tree_put_text(document.root, "key", key);
	tree_put(document.root, "now", time_to_tree(world->now));
	tree_put(document.root, "record", record);
	if (deed->set != NULL)
		record = tree_with(tree_merge(record, template_patch(deed->set, &document)), "key",
						   tree_text(key));
	if (deed->to != NULL)
		record = tree_with(record, "st", tree_text(deed->to));
	store_record(world, participant, record);
	tree_put(document.root, "record", record);
	document.jsonb = NULL;
	foreach(cell, deed->replies)
	{
		Reply	   *reply = lfirst(cell);
		Flight	   *flight = palloc0(sizeof(Flight));

		flight->type = reply->type;
		flight->body = template_evaluate(reply->body, &document);
		flight->key = key;
		flight->sure = command == NULL;
		world->flights = lappend(world->flights, flight);
	}
}

/*
 * Takes over what a reaction sends.
 */
void
world_take(World *world, const Effects *effects)
{
	ListCell   *cell;

	foreach(cell, effects->messages)
	{
		OutMessage *message = lfirst(cell);
		Flight	   *flight;

		count_up(message->endpoint != NULL ? &world->sent : &world->published, message->type);
		if (message->endpoint == NULL)
			continue;
		flight = palloc0(sizeof(Flight));
		flight->command = true;
		flight->type = message->type;
		flight->body = message->body;
		flight->key = message->step_key;
		world->flights = lappend(world->flights, flight);
	}
	foreach(cell, effects->events)
		count_up(&world->appended, ((OutEvent *) lfirst(cell))->type);
}

/*
 * What invariants are checked against.
 */
Tree *
world_document(World *world, const Machine *machine)
{
	const State *state = definition_state(machine->definition, machine->state);
	Tree	   *document = tree_object();
	Tree	   *saga = tree_object();
	Tree	   *counts = tree_object();
	ListCell   *cell;

	tree_put_text(saga, "state", state->name);
	tree_put(saga, "version", tree_int(machine->version));
	tree_put(saga, "final", tree_bool(state->final));
	tree_put(document, "saga", saga);
	tree_put(document, "data", machine->data);
	tree_put(document, "now", time_to_tree(world->now));
	tree_put(document, "participants", world->records);
	foreach(cell, world->scenario->participants)
	{
		Participant *participant = lfirst(cell);
		Tree	   *records = listed(tree_get(world->records, participant->name));
		Tree	   *count = tree_object();

		for (int i = 0; i < records->count; i++)
			count_up(&count, tree_get_text(records->as.items[i], "st"));
		tree_put(counts, participant->name, count);
	}
	tree_put(document, "count", counts);
	tree_put(document, "sent", world->sent);
	tree_put(document, "published", world->published);
	tree_put(document, "events", world->appended);
	tree_put(document, "outstanding", tree_int(list_length(machine->outstanding)));
	return document;
}

static Tree *
find_record(World *world, const Participant *participant, const char *key)
{
	Tree	   *records = listed(tree_get(world->records, participant->name));

	for (int i = 0; i < records->count; i++)
		if (tree_is_text(tree_get(records->as.items[i], "key"), key))
			return records->as.items[i];
	return NULL;
}

static Choice *
find_choice(const Participant *participant, const char *command, const char *status)
{
	ListCell   *cell;

	foreach(cell, participant->choices)
	{
		Choice	   *choice = lfirst(cell);

		if (strcmp(choice->status, status) == 0 && (command == NULL) == (choice->command == NULL) &&
			(command == NULL || strcmp(choice->command, command) == 0))
			return choice;
	}
	return NULL;
}

static void
store_record(World *world, const Participant *participant, Tree *record)
{
	Tree	   *records = listed(tree_get(world->records, participant->name));
	char	   *key = tree_get_text(record, "key");
	bool		found = false;

	for (int i = 0; i < records->count && !found; i++)
	{
		if (tree_is_text(tree_get(records->as.items[i], "key"), key))
		{
			records = tree_with_item(records, i, record);
			found = true;
		}
	}
	if (!found)
		records = tree_with_appended(records, record);
	world->records = tree_with(world->records, participant->name, records);
}

static void
count_up(Tree **counts, const char *type)
{
	*counts = tree_with(*counts, type, tree_int(tree_to_int(tree_get(*counts, type), 0) + 1));
}

static char *
key_at(const Tree *object, int index)
{
	return pnstrdup(object->as.members[index].key, object->as.members[index].length);
}

static Tree *
listed(Tree *tree)
{
	if (tree == NULL)
		return tree_array();
	return tree->type == TREE_ARRAY ? tree : tree_append(tree_array(), tree);
}

/*
 * A member that is an object, or absent: then an empty one.
 */
static Tree *
object_at(const Tree *object, const char *key)
{
	Tree	   *member = tree_get(object, key);

	if (member == NULL)
		return tree_object();
	if (member->type != TREE_OBJECT)
		ereport(ERROR,
				(errcode(ERRCODE_SG_TEMPLATE),
				 errmsg("\"%s\" of the scenario must be an object", key)));
	return member;
}

static char *
required(const Tree *object, const char *key)
{
	char	   *text = tree_get_text(object, key);

	if (text == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_SG_TEMPLATE), errmsg("the scenario lacks a \"%s\"", key)));
	return text;
}

/*
 * Refuses members that are not in the list, which is separated by spaces.
 */
static void
check_keys(const Tree *object, const char *what, const char *known)
{
	for (int i = 0; object != NULL && object->type == TREE_OBJECT && i < object->count; i++)
		if (strstr(psprintf(" %s ", known), psprintf(" %s ", key_at(object, i))) == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_SG_TEMPLATE),
					 errmsg("unknown key \"%s\" in %s", key_at(object, i), what)));
}

static int
count_at(const Tree *object, const char *key, int otherwise)
{
	Tree	   *member = tree_get(object, key);
	int64		count = member == NULL ? otherwise : tree_to_int(member, -1);

	if (count < 0 || count > PG_INT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_SG_TEMPLATE),
				 errmsg("\"%s\" of the scenario must be a whole number", key)));
	return (int) count;
}

static bool
flag_at(const Tree *object, const char *key, bool otherwise)
{
	Tree	   *member = tree_get(object, key);

	if (member != NULL && member->type != TREE_BOOL)
		ereport(ERROR,
				(errcode(ERRCODE_SG_TEMPLATE),
				 errmsg("\"%s\" of the scenario must be true or false", key)));
	return member == NULL ? otherwise : member->as.boolean;
}
