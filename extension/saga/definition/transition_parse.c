/*
 * transition_parse.c
 *		From JSON to transitions: guard, what is written and sent, where to.
 */
#include "postgres.h"

#include "pg/subtransaction.h"
#include "saga/definition/call.h"
#include "saga/definition/definition_parse.h"

#define DAY_MILLISECONDS INT64CONST(86400000)

static Registration *parse_call(Parser *p, const Tree *tree);
static Template *parse_set(Parser *p, const Tree *tree);
static SendAction *parse_send(Parser *p, const Tree *tree);
static void parse_send_compensation(Parser *p, SendAction *send, Tree *tree);
static void parse_resend(Parser *p, SendAction *send, const Tree *tree);
static PublishAction *parse_publish(Parser *p, const Tree *tree);
static AppendAction *parse_append(Parser *p, const Tree *tree);
static ScheduleAction *parse_schedule(Parser *p, const Tree *tree);
static void parse_unschedule(Parser *p, Transition *transition, Tree *tree);
static CompensateAction *parse_compensate(Parser *p, const Tree *tree);
static void parse_order(Parser *p, CompensateAction *compensate, const Tree *order);
static void check_whole_number(Parser *p, const Tree *object, const char *key, int64 least);
static Template *required_template(Parser *p, const Tree *object, const char *key);

typedef void *(*ParseOne) (Parser *p, const Tree *tree);

/*
 * Parses each object of a list, which may be missing or a single object.
 */
static List *
parse_each(Parser *p, Tree *tree, const char *what, ParseOne parse)
{
	List	   *result = NIL;
	Tree	   *list = as_list(tree);

	for (int i = 0; i < list->count; i++)
	{
		if (parse_is_object(p, list->as.items[i], what))
		{
			void	   *item = parse(p, list->as.items[i]);

			if (item != NULL)
				result = lappend(result, item);
		}
	}
	return result;
}

/*
 * One transition, or guarded alternatives in an array.
 */
List *
parse_transitions(Parser *p, Tree *tree)
{
	return parse_each(p, tree, "a transition", (ParseOne) parse_transition);
}

Transition *
parse_transition(Parser *p, const Tree *tree)
{
	Transition *transition = palloc0(sizeof(Transition));
	char	   *each = parse_text(p, tree, "each", false);

	parse_keys(p, tree, "a transition",
			   "why guard each in call set fact send publish append schedule unschedule alarm"
			   " compensate goto");
	transition->source = tree;
	transition->label = parse_text(p, tree, "why", false);
	transition->guard = parse_path(p, tree, "guard");
	transition->each = NOWHERE;
	if (each != NULL)
	{
		transition->each = definition_find_fact(p->definition, each);
		if (transition->each == NOWHERE)
			parse_problem(p, "\"each\" names \"%s\", which is not listed in \"facts\"", each);
		else
			transition->in = parse_statuses(p, definition_fact(p->definition, transition->each),
											tree_get(tree, "in"), "\"in\"");
	}
	else if (tree_get(tree, "in") != NULL)
		parse_problem(p, "\"in\" needs \"each\"");
	transition->call = parse_call(p, tree);
	transition->set = parse_set(p, tree);
	transition->facts = parse_each(p, tree_get(tree, "fact"), "\"fact\"",
								   (ParseOne) parse_own_fact);
	transition->sends = parse_each(p, tree_get(tree, "send"), "\"send\"", (ParseOne) parse_send);
	transition->publishes = parse_each(p, tree_get(tree, "publish"), "\"publish\"",
									   (ParseOne) parse_publish);
	transition->appends = parse_each(p, tree_get(tree, "append"), "\"append\"",
									 (ParseOne) parse_append);
	transition->schedules = parse_each(p, tree_get(tree, "schedule"), "\"schedule\"",
									   (ParseOne) parse_schedule);
	parse_unschedule(p, transition, tree_get(tree, "unschedule"));
	transition->alarm = parse_text(p, tree, "alarm", false);
	if (tree_get(tree, "compensate") != NULL &&
		parse_is_object(p, tree_get(tree, "compensate"), "\"compensate\""))
		transition->compensate = parse_compensate(p, tree_get(tree, "compensate"));
	transition->target = parse_state_name(p, tree, "goto");
	p->definition->transitions = lappend(p->definition->transitions, transition);
	return transition;
}

static void
check_call(void *signature)
{
	call_check(signature);
}

static Registration *
parse_call(Parser *p, const Tree *tree)
{
	char	   *signature = parse_text(p, tree, "call", false);
	Registration *call;
	ErrorData  *error;

	if (signature != NULL && !subtransaction_run(check_call, signature, &error))
		parse_problem(p, "%s", error->message);
	if (signature == NULL)
		return NULL;
	call = palloc0(sizeof(Registration));
	call->signature = signature;
	p->definition->calls = lappend(p->definition->calls, call);
	return call;
}

/*
 * What goes into data; facts are not written this way.
 */
static Template *
parse_set(Parser *p, const Tree *tree)
{
	Tree	   *set = tree_get(tree, "set");

	if (set != NULL && parse_is_object(p, set, "\"set\""))
		for (int i = 0; i < set->count; i++)
		{
			char	   *name = member_name(set, i);

			if (definition_find_fact(p->definition, name) != NOWHERE ||
				(p->definition->facts != NIL && strcmp(name, "earlier") == 0))
				parse_problem(p, "\"set\" writes \"%s\", which holds facts", name);
		}
	return parse_template(p, tree, "set");
}

/*
 * The command with parts of it replaced; null takes a part away.  An operator of
 * templates is one value, whose parts are not merged.
 */
static Tree *
change_command(Tree *command, Tree *changes)
{
	Tree	   *result;

	if (changes->type != TREE_OBJECT || command == NULL || command->type != TREE_OBJECT)
		return changes;
	for (int i = 0; i < changes->count; i++)
		if (changes->as.members[i].length > 0 && changes->as.members[i].key[0] == '$')
			return changes;
	result = command;
	for (int i = 0; i < changes->count; i++)
	{
		char	   *key = member_name(changes, i);
		Tree	   *value = changes->as.members[i].value;

		if (value->type == TREE_NULL)
			result = tree_without(result, key);
		else
			result = tree_with(result, key, change_command(tree_get(result, key), value));
	}
	return result;
}

/*
 * A send may take a command of the definition's "commands" and change parts of it.
 */
static const Tree *
named_command(Parser *p, const Tree *tree)
{
	char	   *name = parse_text(p, tree, "command", false);
	Tree	   *command;

	if (name == NULL)
		return tree;
	command = tree_get(tree_get(p->definition->document, "commands"), name);
	if (command == NULL)
	{
		parse_problem(p, "\"commands\" has no \"%s\"", name);
		return NULL;
	}
	if (!parse_is_object(p, command, "the command"))
		return NULL;
	return change_command(command, tree_without(tree, "command"));
}

static SendAction *
parse_send(Parser *p, const Tree *given)
{
	SendAction *send = palloc0(sizeof(SendAction));
	const Tree *tree = named_command(p, given);
	Tree	   *fact = tree_get(tree, "fact");

	if (tree == NULL)
		return NULL;
	parse_keys(p, tree, "\"send\"",
			   "if step attempt key endpoint type schema_version body fact resend compensation");
	send->condition = parse_path(p, tree, "if");
	send->schema_version = parse_schema_version(p, tree);
	send->endpoint = parse_text(p, tree, "endpoint", true);
	send->type = parse_text(p, tree, "type", true);
	/* That it lacks one is said; nobody who looks for further problems needs to ask. */
	if (send->type == NULL)
		send->type = "?";
	send->step = parse_text(p, tree, "step", false);
	if (send->step == NULL)
		send->step = send->type;
	send->attempt = parse_template(p, tree, "attempt");
	check_whole_number(p, tree, "attempt", 1);
	send->key = parse_template(p, tree, "key");
	send->body = parse_template(p, tree, "body");
	if (fact != NULL && parse_is_object(p, fact, "\"fact\""))
		send->fact = parse_own_fact(p, fact);
	send->timer = NOWHERE;
	send->owed = NOWHERE;
	if (tree_get(tree, "resend") != NULL &&
		parse_is_object(p, tree_get(tree, "resend"), "\"resend\""))
		parse_resend(p, send, tree_get(tree, "resend"));
	parse_send_compensation(p, send, tree_get(tree, "compensation"));
	send->source = tree;
	send->in_state = p->state;
	send->on_event = p->event;
	p->definition->sends = lappend(p->definition->sends, send);
	return send;
}

/*
 * "none", {"owed": rule}, or a command and the event that confirms it.
 */
static void
parse_send_compensation(Parser *p, SendAction *send, Tree *tree)
{
	Compensation *compensation;
	char	   *rule;

	if (tree == NULL)
		parse_problem(p, "command \"%s\" has neither a compensation nor \"none\"", send->type);
	if (tree == NULL || tree_is_text(tree, "none"))
		return;
	if (!parse_is_object(p, tree, "\"compensation\""))
		return;
	if (tree_get(tree, "owed") != NULL)
	{
		parse_keys(p, tree, "\"compensation\"", "owed");
		rule = parse_text(p, tree, "owed", true);
		send->owed = rule == NULL ? NOWHERE : definition_find_owed(p->definition, rule);
		if (rule != NULL && send->owed == NOWHERE)
			parse_problem(p, "there is no rule \"%s\" in \"owed\"", rule);
		return;
	}
	parse_keys(p, tree, "\"compensation\"",
			   "endpoint type schema_version body confirmed_by refused_by");
	compensation = palloc0(sizeof(Compensation));
	compensation->endpoint = parse_text(p, tree, "endpoint", true);
	compensation->type = parse_text(p, tree, "type", true);
	compensation->schema_version = parse_schema_version(p, tree);
	compensation->body = parse_template(p, tree, "body");
	compensation->confirmed_by = parse_event_name(p, tree, "confirmed_by");
	compensation->refusals = parse_refusals(p, tree_get(tree, "refused_by"));
	if (compensation->endpoint != NULL && compensation->type != NULL)
		send->compensation = compensation;
}

/*
 * {"timer": name, "every": interval, "limit": n}: the command is repeated, with
 * the same key; once that is used up the timer is an event of the state.
 */
static void
parse_resend(Parser *p, SendAction *send, const Tree *tree)
{
	char	   *timer = parse_text(p, tree, "timer", true);
	int64		limit;

	parse_keys(p, tree, "\"resend\"", "timer every limit");
	if (timer != NULL)
		send->timer = parse_timer_name(p, timer);
	send->resend = palloc0(sizeof(Backoff));
	send->resend->kind = BACKOFF_INTERVAL;
	send->resend->first = parse_interval(p, tree, "every", 0);
	if (tree_get(tree, "every") == NULL)
		parse_problem(p, "\"every\" is missing in \"resend\"");
	limit = tree_to_int(tree_get(tree, "limit"), 0);
	if (limit < 1 || limit > FIELD_MAX_COUNT)
		parse_problem(p, "\"limit\" of \"resend\" must be a number from 1 to %d", FIELD_MAX_COUNT);
	send->resend->limit = (int32) limit;
	if (send->body != NULL && (template_mentions(send->body, "message") ||
							   template_mentions(send->body, "record")))
		parse_problem(p, "the body of a command that is resent must not depend on"
					  " $.message or $.record");
}

static PublishAction *
parse_publish(Parser *p, const Tree *tree)
{
	PublishAction *publish = palloc0(sizeof(PublishAction));

	parse_keys(p, tree, "\"publish\"", "if type schema_version body key");
	publish->condition = parse_path(p, tree, "if");
	publish->type = parse_text(p, tree, "type", true);
	publish->schema_version = parse_schema_version(p, tree);
	publish->body = parse_template(p, tree, "body");
	publish->key = parse_template(p, tree, "key");
	return publish;
}

static AppendAction *
parse_append(Parser *p, const Tree *tree)
{
	AppendAction *append = palloc0(sizeof(AppendAction));

	parse_keys(p, tree, "\"append\"",
			   "if stream type schema_version data expected_version skip_existing");
	append->condition = parse_path(p, tree, "if");
	append->stream = required_template(p, tree, "stream");
	append->type = parse_text(p, tree, "type", true);
	append->schema_version = parse_schema_version(p, tree);
	append->data = required_template(p, tree, "data");
	append->expected_version = parse_template(p, tree, "expected_version");
	check_whole_number(p, tree, "expected_version", 0);
	append->skip_existing = parse_flag(p, tree, "skip_existing");
	return append;
}

/*
 * What is to be a number must be a whole one, from the least on, or a template that
 * may yield one.
 */
static void
check_whole_number(Parser *p, const Tree *object, const char *key, int64 least)
{
	const Tree *value = tree_get(object, key);

	if (value == NULL || value->type == TREE_OBJECT ||
		(value->type == TREE_STRING && value->count > 0 && value->as.string[0] == '$'))
		return;
	if (tree_to_int(value, least - 1) < least)
		parse_problem(p, "\"%s\" must be a whole number from " INT64_FORMAT " or a path, and is %s",
					  key, least, tree_to_text(value));
}

static ScheduleAction *
parse_schedule(Parser *p, const Tree *tree)
{
	ScheduleAction *schedule = palloc0(sizeof(ScheduleAction));
	char	   *timer = parse_text(p, tree, "timer", true);
	Tree	   *delay = tree_get(tree, "delay");

	parse_keys(p, tree, "\"schedule\"", "if timer delay at backoff attempt");
	schedule->condition = parse_path(p, tree, "if");
	schedule->timer = timer == NULL ? NOWHERE : parse_timer_name(p, timer);
	schedule->delay = parse_template(p, tree, "delay");
	schedule->at = parse_template(p, tree, "at");
	schedule->backoff = parse_backoff(p, tree, "backoff");
	schedule->attempt = parse_template(p, tree, "attempt");
	check_whole_number(p, tree, "attempt", 1);
	if ((delay != NULL) + (tree_get(tree, "at") != NULL) + (tree_get(tree, "backoff") != NULL) != 1)
		parse_problem(p, "\"schedule\" needs one of \"delay\", \"at\" and \"backoff\"");
	if (delay != NULL && delay->type != TREE_OBJECT &&
		(delay->type != TREE_STRING || delay->count == 0 ||
		 memchr(delay->as.string, '$', delay->count) == NULL))
		(void) parse_interval(p, tree, "delay", 0);
	return schedule;
}

static void
parse_unschedule(Parser *p, Transition *transition, Tree *tree)
{
	Tree	   *list = as_list(tree);

	for (int i = 0; i < list->count; i++)
	{
		if (list->as.items[i]->type != TREE_STRING)
			parse_problem(p, "\"unschedule\" must be an array of timers");
		else if (tree_is_text(list->as.items[i], "*"))
			transition->unschedule_all = true;
		else
			transition->unschedule =
				lappend_int(transition->unschedule,
							parse_timer_name(p, tree_to_text(list->as.items[i])));
	}
}

static CompensateAction *
parse_compensate(Parser *p, const Tree *tree)
{
	CompensateAction *compensate = palloc0(sizeof(CompensateAction));

	char	   *given_up = parse_text(p, tree, "given_up", false);

	parse_keys(p, tree, "\"compensate\"", "order resend give_up_after given_up give_up then");
	compensate->stops = given_up != NULL && strcmp(given_up, "stop") == 0;
	if (given_up != NULL && !compensate->stops && strcmp(given_up, "go_on") != 0)
		parse_problem(p, "\"given_up\" is \"%s\", not \"go_on\" or \"stop\"", given_up);
	parse_order(p, compensate, tree_get(tree, "order"));
	compensate->resend = parse_backoff(p, tree, "resend");
	compensate->resend_source = tree_get(tree, "resend");
	compensate->give_up_after = parse_interval(p, tree, "give_up_after", DAY_MILLISECONDS);
	compensate->give_up = parse_state_name(p, tree, "give_up");
	compensate->then = parse_state_name(p, tree, "then");
	if (tree_get(tree, "give_up") == NULL)
		parse_problem(p, "\"compensate\" needs a state to \"give_up\" into");
	if (tree_get(tree, "then") == NULL)
		parse_problem(p, "\"compensate\" needs a state to go to \"then\"");
	return compensate;
}

static void
parse_order(Parser *p, CompensateAction *compensate, const Tree *order)
{
	if (order == NULL || tree_is_text(order, "reverse"))
		compensate->order = COMPENSATE_REVERSE;
	else if (tree_is_text(order, "forward"))
		compensate->order = COMPENSATE_FORWARD;
	else if (tree_is_text(order, "parallel"))
		compensate->order = COMPENSATE_PARALLEL;
	else if (order->type == TREE_ARRAY)
	{
		compensate->order = COMPENSATE_LISTED;
		for (int i = 0; i < order->count; i++)
			compensate->steps = lappend(compensate->steps, tree_to_text(order->as.items[i]));
	}
	else
		parse_problem(p, "\"order\" must be reverse, forward, parallel or an array of steps");
}

static Template *
required_template(Parser *p, const Tree *object, const char *key)
{
	if (tree_get(object, key) == NULL)
		parse_problem(p, "\"%s\" is missing", key);
	return parse_template(p, object, key);
}
