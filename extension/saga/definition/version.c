/*
 * version.c
 *		Versions of message and event types that a definition goes by.
 *
 * A definition was written for bodies in the shape that was current when it was
 * defined.  Its instances go on with that shape: what they send is of that
 * version, and what they get is upcast to it and no further.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "event_store/contract/contract.h"
#include "saga/definition/definition.h"

static void collect_versions(const Tree *tree, Tree *versions);
static void collect_version(const char *type, int length, Tree *versions);

/*
 * The versions that are current now of the registered types that a definition
 * names: as events, and as "type" of whatever it sends, publishes or appends.
 */
Tree *
definition_current_versions(const Definition *definition)
{
	Tree	   *versions = tree_object();
	ListCell   *cell;

	foreach(cell, definition->events)
	{
		const char *name = ((SagaEvent *) lfirst(cell))->name;

		collect_version(name, (int) strlen(name), versions);
	}
	collect_versions(definition->document, versions);
	return versions;
}

static void
collect_versions(const Tree *tree, Tree *versions)
{
	check_stack_depth();
	for (int i = 0; tree->type == TREE_ARRAY && i < tree->count; i++)
		collect_versions(tree->as.items[i], versions);
	for (int i = 0; tree->type == TREE_OBJECT && i < tree->count; i++)
	{
		const TreeMember *member = &tree->as.members[i];

		if (member->length == strlen("type") && memcmp(member->key, "type", member->length) == 0 &&
			member->value->type == TREE_STRING)
			collect_version(member->value->as.string, member->value->count, versions);
		collect_versions(member->value, versions);
	}
}

static void
collect_version(const char *type, int length, Tree *versions)
{
	int32		version = contract_current_version(type, length);

	if (version != CONTRACT_CURRENT && tree_get_n(versions, type, length) == NULL)
		tree_put(versions, pnstrdup(type, length), tree_int(version));
}

/*
 * The version of a type that a definition goes by; CONTRACT_CURRENT if the type was
 * not registered then.
 */
int32
definition_version(const Definition *definition, const char *type)
{
	return (int32) tree_to_int(tree_get(definition->versions, type), CONTRACT_CURRENT);
}

/*
 * A message's body in the version that a definition goes by, as far as upcasters
 * lead.
 */
Tree *
definition_message_body(const Definition *definition, const char *type, int32 schema_version,
						Tree *body)
{
	int			length = (int) strlen(type);
	int32		version = definition_version(definition, type);
	Jsonb	   *upcast;

	if (!contract_has_upcaster(type, length))
		return body;
	if (version == CONTRACT_CURRENT)
		version = contract_current_version(type, length);
	if (schema_version >= version)
		return body;
	upcast = contract_upcast_to(type, length, &schema_version, tree_to_jsonb(body), version);
	return tree_from_jsonb(upcast);
}
