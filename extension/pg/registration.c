/*
 * registration.c
 *		Users' code that was handed in to be run later, and who answers for it.
 *
 * A row of a table can say which function to call and as whom, but PostgreSQL
 * knows nothing of it: the function may be dropped, the role renamed, and the
 * name given to another one.  So for each registration there is an object that
 * PostgreSQL knows, a function of its own in schema ecommerce that is never
 * called:
 *
 *		CREATE FUNCTION ecommerce."projection tally"(event_store.event)
 *		RETURNS void BEGIN ATOMIC SELECT shop.tally($1); END
 *
 * owned by the role that answers for the registration.  Whatever happens to
 * functions, types and roles then happens to it in the ways that every DBA
 * knows: DROP FUNCTION, DROP TYPE and DROP ROLE are refused and name it, CASCADE
 * and DROP OWNED take it away, renames change nothing, REASSIGN OWNED hands it
 * over.  pg_dump and pg_upgrade carry it, and it goes with the extension.
 *
 * Why not entries in pg_depend: they need an object that depends.  The rows'
 * table would be one, but it is a member of the extension, and a CASCADE would
 * take the whole extension with it.  Nor hooks or event triggers: they do not
 * see what is done without the library, or to roles in another database.
 *
 * The texts in the tables are for people, and for a database that has the rows
 * only (pg_restore --data-only): then they are looked up by name.  Nobody gains
 * by being in the place of a name, because who owns the code must have the rights
 * it runs with (function.c, contract_tree.c).  A superuser is not taken for
 * somebody else who has registered it, as pg_restore --no-owner would have it.
 *
 * What is looked up is good until a function, role or membership changes; there
 * are no locks.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "common/hashfn.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/syscache.h"

#include "pg/callbacks.h"
#include "pg/function.h"
#include "pg/inline.h"
#include "pg/registration.h"
#include "pg/spi.h"

#define SCHEMA "ecommerce"

/* Rises with every change of a function, a role or a membership. */
static uint64 generation = 1;

static void store(const char *name, const char *definition, Oid role);
static Oid	find_stand_in(const char *name);
static void resolve(Registration *registration);
static Oid	called_function(Oid stand_in);
static void something_changed(Datum arg, int cacheid, uint32 hash);

/*
 * The name of the function that stands for a registration: what is registered, as
 * long as names may be.  palloc'd.
 */
char *
registration_name(const char *format, ...)
{
	char		text[1024];
	va_list		arguments;
	int			length;

	va_start(arguments, format);
	(void) vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	length = (int) strlen(text);
	if (length < NAMEDATALEN)
		return pstrdup(text);
	return psprintf("%.*s %08x", pg_mbcliplen(text, length, NAMEDATALEN - 10), text,
					hash_bytes((unsigned char *) text, length));
}

/*
 * Registers a function, in place of what was registered under that name.
 */
void
registration_store(const char *name, Oid function, Oid role)
{
	StringInfoData definition;
	StringInfoData parameters;
	Oid		   *types;
	int			count;

	initStringInfo(&definition);
	initStringInfo(&parameters);
	(void) get_func_signature(function, &types, &count);
	for (int i = 0; i < count; i++)
	{
		appendStringInfo(&definition, "%s%s", i > 0 ? ", " : "",
						 format_type_be_qualified(types[i]));
		appendStringInfo(&parameters, "%s$%d", i > 0 ? ", " : "", i + 1);
	}
	appendStringInfo(&definition, ") RETURNS %s LANGUAGE sql BEGIN ATOMIC SELECT %s(%s); END",
					 format_type_be_qualified(get_func_rettype(function)),
					 quote_qualified_identifier(get_namespace_name(get_func_namespace(function)),
												get_func_name(function)),
					 parameters.data);
	store(name, definition.data, role);
}

/*
 * Registers a type.
 */
void
registration_store_type(const char *name, Oid type, Oid role)
{
	char	   *definition = psprintf("%s) RETURNS void LANGUAGE sql BEGIN ATOMIC END",
									  format_type_be_qualified(type));

	store(name, definition, role);
}

static void
store(const char *name, const char *definition, Oid role)
{
	const char *quoted = quote_qualified_identifier(SCHEMA, name);

	registration_remove(name);
	spi_begin(SPI_AS_OWNER);
	spi_command(psprintf("CREATE FUNCTION %s(%s", quoted, definition));
	spi_command(psprintf("COMMENT ON FUNCTION %s IS 'Stands for registered code, which runs"
						 " with the rights of its owner; never called.'",
						 quoted));
	spi_command(psprintf("REVOKE ALL ON FUNCTION %s FROM PUBLIC", quoted));
	spi_command(psprintf("ALTER FUNCTION %s DEPENDS ON EXTENSION ecommerce", quoted));
	spi_command(psprintf("ALTER FUNCTION %s OWNER TO %s", quoted,
						 quote_identifier(GetUserNameFromId(role, false))));
	spi_end();
}

/*
 * Forgets a registration; nothing happens if there is none.
 */
void
registration_remove(const char *name)
{
	ObjectAddress address = {ProcedureRelationId, find_stand_in(name), 0};

	if (!OidIsValid(address.objectId))
		return;
	performDeletion(&address, DROP_RESTRICT, PERFORM_DELETION_INTERNAL);
	CommandCounterIncrement();
}

/*
 * What a row says is registered.  Name and signature must live as long; the rest
 * goes to the current memory context.
 */
void
registration_init(Registration *registration, const char *name, const char *signature, Datum role)
{
	memset(registration, 0, sizeof(*registration));
	registration->name = name;
	registration->signature = signature;
	registration->role = TextDatumGetCString(role);
}

/*
 * The role with whose rights it runs, InvalidOid if there is no such role (any
 * more).
 */
Oid
registration_owner(Registration *registration)
{
	if (registration->generation != generation)
		resolve(registration);
	return registration->owner;
}

/*
 * The function, InvalidOid if it is gone.  To be called with the owner's rights.
 */
Oid
registration_function(Registration *registration)
{
	if (registration->generation != generation)
		resolve(registration);
	if (OidIsValid(registration->stand_in))
		return called_function(registration->stand_in);
	return function_find(registration->signature);
}

/*
 * Changes whenever a function or an owner may have become another one.
 */
uint64
registration_generation(void)
{
	return generation;
}

static void
resolve(Registration *registration)
{
	uint64		as_of = generation;
	HeapTuple	row;

	callback_on_catalog(PROCOID, something_changed);
	callback_on_catalog(AUTHOID, something_changed);
	callback_on_catalog(AUTHMEMROLEMEM, something_changed);
	registration->stand_in = find_stand_in(registration->name);
	row = OidIsValid(registration->stand_in)
			  ? SearchSysCache1(PROCOID, ObjectIdGetDatum(registration->stand_in))
			  : NULL;
	if (HeapTupleIsValid(row))
	{
		registration->owner = ((Form_pg_proc) GETSTRUCT(row))->proowner;
		ReleaseSysCache(row);
		if (superuser_arg(registration->owner) &&
			strcmp(GetUserNameFromId(registration->owner, false), registration->role) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("\"%s\" was registered by role \"%s\", and belongs to superuser \"%s\" now",
							registration->name, registration->role,
							GetUserNameFromId(registration->owner, false)),
					 errhint("Type ALTER FUNCTION %s OWNER TO the role with whose rights it shall run, or register it again.",
							 quote_qualified_identifier(SCHEMA, registration->name))));
	}
	else
	{
		registration->stand_in = InvalidOid;
		registration->owner = get_role_oid(registration->role, true);
	}
	registration->generation = as_of;
}

/*
 * Nobody but the extension's owner can create functions in its schemas.
 */
static Oid
find_stand_in(const char *name)
{
	Oid			schema = get_namespace_oid(SCHEMA, false);
	Oid			found = InvalidOid;
	CatCList   *list = SearchSysCacheList1(PROCNAMEARGSNSP, CStringGetDatum(name));

	for (int i = 0; i < list->n_members; i++)
	{
		Form_pg_proc form = (Form_pg_proc) GETSTRUCT(&list->members[i]->tuple);

		if (form->pronamespace == schema)
			found = form->oid;
	}
	ReleaseCatCacheList(list);
	return found;
}

/*
 * The function in the body of one that stands for it.
 */
static Oid
called_function(Oid stand_in)
{
	Query	   *query = inline_only_query(stand_in);
	Node	   *call = query != NULL && list_length(query->targetList) == 1
						   ? (Node *) linitial_node(TargetEntry, query->targetList)->expr
						   : NULL;

	return call != NULL && IsA(call, FuncExpr) ? ((FuncExpr *) call)->funcid : InvalidOid;
}

static void
something_changed(Datum arg, int cacheid, uint32 hash)
{
	generation++;
}
