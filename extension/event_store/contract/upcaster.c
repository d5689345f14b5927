/*
 * upcaster.c
 *		Calling upcasters with the rights of who registered them.
 *
 * To take rights, with settings pinned, and to give them back costs more than most
 * upcasters do.  So who calls many, one event after the other, keeps the settings
 * pinned in between and is himself again only as user.  A custom scan cannot: between
 * two rows of it the query's own expressions are evaluated.
 *
 * An error in an upcaster needs no care, see rights.h.
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "base/errors.h"
#include "event_store/contract/upcaster.h"

static void name_upcaster(void *argument);
static void take_rights(Upcasting *many, Oid role);

/*
 * An event's or a message's data in the next version.  home is the memory context
 * that the upcaster lives in.
 */
Jsonb *
upcaster_apply(Upcaster *upcaster, Jsonb *data, Upcasting *many, MemoryContext home)
{
	ErrorContextCallback callback = {error_context_stack, name_upcaster, upcaster};
	Registration *registration = &upcaster->registration;
	Callable   *callable = callable_borrow(&upcaster->idle, registration, JSONBOID, home);
	Datum		argument = JsonbPGetDatum(data);
	Oid			role;
	Datum		result;
	bool		isnull;

	error_context_stack = &callback;
	role = registration_owner(registration);
	if (!callable_call_pure(callable, role, &argument, &result, &isnull))
	{
		take_rights(many, role);
		result = callable_call(callable, &argument, &isnull);
		rights_rest(&many->before);
	}
	if (isnull || !JB_ROOT_IS_OBJECT(DatumGetJsonbP(result)))
		ereport(ERROR,
				(errcode(ERRCODE_ST_INVALID_EVENT),
				 errmsg("upcaster %s did not return a JSON object",
						registration->signature),
				 errhint("It must return the data of version %d.", upcaster->from + 1)));
	error_context_stack = callback.previous;
	callable_return(&upcaster->idle, callable, home);
	return DatumGetJsonbP(result);
}

/*
 * Gives back what upcasters needed, and undoes what they have set.
 */
void
upcasting_end(Upcasting *many)
{
	if (OidIsValid(many->role))
		rights_give_back(&many->before);
	many->role = InvalidOid;
}

static void
name_upcaster(void *argument)
{
	const Upcaster *upcaster = argument;

	errcontext("upcaster %s", upcaster->registration.signature);
}

/*
 * What one role's code has set is undone before another's runs.
 */
static void
take_rights(Upcasting *many, Oid role)
{
	if (OidIsValid(many->role) && many->role == role)
	{
		rights_resume(role, &many->before);
		return;
	}
	upcasting_end(many);
	rights_take(role, &many->before);
	many->role = role;
}
