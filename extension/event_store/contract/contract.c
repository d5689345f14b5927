/*
 * contract.c
 *		Registered event types: checking data that comes in, upcasting data that
 *		goes out.
 *
 * What the tables event_type and upcaster say of a type is cached per backend,
 * compiled trees included, and so is that they say nothing.  A trigger on both
 * tables sends a relcache invalidation; that, or one of a type that a tree was
 * compiled from, makes the next call start with an empty cache.  The old one
 * stays until the transaction ends, because a call may be standing in it.
 *
 * How much is cached is bounded: what is registered by the tables, and names
 * that are not, which anybody can make up, by UNREGISTERED_MAX.
 *
 * The tables are read with the newest snapshot: a registration counts from its
 * commit on, also in a transaction that began before.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "commands/trigger.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/errors.h"
#include "event_store/contract/contract.h"
#include "event_store/contract/contract_check.h"
#include "event_store/contract/contract_tree.h"
#include "event_store/contract/upcaster.h"
#include "pg/cache.h"
#include "pg/callbacks.h"
#include "pg/lookup.h"
#include "pg/rights.h"
#include "pg/settings.h"

/* Columns of event_store.event_type and upcaster. */
enum
{
	EVENT_TYPE_NAME, EVENT_TYPE_SCHEMA_VERSION, EVENT_TYPE_PAYLOAD_TYPE, EVENT_TYPE_OWNER,
	EVENT_TYPE_MAY_BE_CURRENT, EVENT_TYPE_COLUMNS,
	UPCASTER_EVENT_TYPE = 0, UPCASTER_FROM_VERSION, UPCASTER_FUNCTION, UPCASTER_OWNER,
	UPCASTER_COLUMNS
};

/* Enough for every shop; beyond it somebody makes up type names. */
#define UNREGISTERED_MAX 1024

typedef struct ContractName
{
	const char *text;
	int			length;
} ContractName;

typedef struct Version
{
	int32		number;
	Oid			payload;
	Registration registration;	/* role whose rights its checks run with */
	bool		may_be_current;
	ContractNode *tree;			/* compiled at first use */
} Version;

typedef struct Contract
{
	ContractName name;			/* hash key, must be first */
	int			version_count;
	Version    *versions;		/* rising */
	Version    *current;		/* what is meant when none is named; NULL: none is registered */
	int			upcaster_count;
	Upcaster   *upcasters;		/* rising */
	int32		shown;			/* what reads return, 0: what is stored */
} Contract;

static const ExtensionColumn event_type_columns[EVENT_TYPE_COLUMNS] = {
	{"event_type", TEXTOID, true}, {"schema_version", INT4OID, true},
	{"payload_type", REGTYPEOID, true}, {"owner", TEXTOID, true},
	{"may_be_current", BOOLOID, true}
};
static const ExtensionColumn upcaster_columns[UPCASTER_COLUMNS] = {
	{"event_type", TEXTOID, true}, {"from_version", INT4OID, true}, {"function", TEXTOID, true},
	{"owner", TEXTOID, true}
};

static ExtensionRelation relation_event_type =
	EXTENSION_TABLE("event_store", "event_type", event_type_columns);
static ExtensionRelation index_event_type = {"event_store", "event_type_pkey"};
static ExtensionRelation relation_upcaster =
	EXTENSION_TABLE("event_store", "upcaster", upcaster_columns);
static ExtensionRelation index_upcaster = {"event_store", "upcaster_pkey"};

static MemoryContext cache_context = NULL;
static HTAB *cache = NULL;
static int	unregistered_count = 0;	/* names in the cache that nobody registered */
static ContractDependencies dependencies;
static Oid	registries[2];		/* the two tables */
static bool any_upcaster = false;
static bool stale = false;

static Contract *find_contract(const char *type, int length);
static Contract *keep_contract(const Contract *loaded);
static void forget_unregistered(void);
static void start_cache(void);
static uint32 hash_name(const void *key, Size size);
static int	match_names(const void *a, const void *b, Size size);
static void load_versions(Contract *contract);
static void load_upcasters(Contract *contract);
static ContractNode *tree_of(const Contract *contract, Version *version);
static Jsonb *upcast(Contract *contract, int32 *schema_version, Jsonb *data, int32 upto,
					 Upcasting *many);
static void relation_changed(Oid relation);
static void type_changed(Datum arg, int cacheid, uint32 hash);

/*
 * Checks an event's or a message's data, an object, against its registered
 * type.  schema_version may be CONTRACT_CURRENT; it becomes the version to store.
 * number is the event's place in its call, -1 if it is alone.  Raises ST004.
 * Returns the data to store, which may be written in another way.
 */
Jsonb *
contract_check(const char *type, int length, int32 *schema_version, Jsonb *data, int number)
{
	Contract   *contract = find_contract(type, length);
	Version    *version = NULL;
	ContractSubject subject = {type, length, 0, number};
	ContractNode *tree;
	Rights		before;

	if (contract->version_count == 0)
	{
		if (setting_ecommerce_require_registered_types)
			ereport(ERROR,
					(errcode(ERRCODE_ST_INVALID_EVENT),
					 errmsg("type \"%.*s\" is not registered", length, type),
					 errhint("Register it with event_store.register_event_type(), or switch ecommerce.require_registered_types off.")));
		if (*schema_version == CONTRACT_CURRENT)
			*schema_version = 1;
		return data;
	}
	Assert(contract->versions != NULL);
	if (*schema_version == CONTRACT_CURRENT)
		version = contract->current;
	for (int i = 0; version == NULL && i < contract->version_count; i++)
	{
		if (contract->versions[i].number == *schema_version)
			version = &contract->versions[i];
	}
	if (version == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_ST_INVALID_EVENT),
				 errmsg("version %d of type \"%.*s\" is not registered", *schema_version, length, type),
				 errhint("The current version is %d; register others with event_store.register_event_type().",
						 contract->current->number)));
	*schema_version = version->number;
	subject.schema_version = version->number;
	tree = tree_of(contract, version);
	if (tree->foreign)
		rights_take(registration_owner(&version->registration), &before);
	data = contract_check_document(tree, data, &subject);
	if (tree->foreign)
		rights_give_back(&before);
	return data;
}

/*
 * The version that reads return and that is meant when none is named,
 * CONTRACT_CURRENT if nothing is registered.
 */
int32
contract_current_version(const char *type, int length)
{
	return find_contract(type, length)->shown;
}

/*
 * Brings stored data to the current version as far as its type's upcasters
 * lead; schema_version says which one that is.  Returns data itself when there
 * is nothing to do.  Upcasters run with the rights of who registered them; many, if
 * not NULL, keeps what that takes for the next call.
 */
Jsonb *
contract_upcast(const char *type, int length, int32 *schema_version, Jsonb *data,
				Upcasting *many)
{
	Upcasting	alone = {InvalidOid};
	Contract   *contract;

	/* Most stores have none, and reads are many. */
	if (likely(cache != NULL && !stale && !any_upcaster))
		return data;
	contract = find_contract(type, length);
	data = upcast(contract, schema_version, data, contract->shown, many != NULL ? many : &alone);
	upcasting_end(&alone);
	return data;
}

/*
 * The same up to a version.
 */
Jsonb *
contract_upcast_to(const char *type, int length, int32 *schema_version, Jsonb *data, int32 upto)
{
	Upcasting	alone = {InvalidOid};

	if (likely(cache != NULL && !stale && !any_upcaster))
		return data;
	data = upcast(find_contract(type, length), schema_version, data, upto, &alone);
	upcasting_end(&alone);
	return data;
}

static Jsonb *
upcast(Contract *contract, int32 *schema_version, Jsonb *data, int32 upto, Upcasting *many)
{
	for (int i = 0; i < contract->upcaster_count && *schema_version < upto; i++)
	{
		Upcaster   *upcaster = &contract->upcasters[i];

		if (upcaster->from != *schema_version)
			continue;
		data = upcaster_apply(upcaster, data, many, cache_context);
		(*schema_version)++;
	}
	return data;
}

/*
 * Whether data of a version is not what is read, and something could be done.
 */
bool
contract_upcasts(const char *type, int length, int32 schema_version)
{
	Contract   *contract;

	if (likely(cache != NULL && !stale && !any_upcaster))
		return false;
	contract = find_contract(type, length);
	return contract->upcaster_count > 0 && schema_version < contract->shown;
}

/*
 * Whether reads may give a type's events in another shape than they are stored.
 */
bool
contract_has_upcaster(const char *type, int length)
{
	if (likely(cache != NULL && !stale && !any_upcaster))
		return false;
	return find_contract(type, length)->upcaster_count > 0;
}

/*
 * Writes down everything that decides in which shape events of a type are read,
 * so that what was derived from them can be told to be outdated.
 */
void
contract_describe_upcasting(const char *type, int length, StringInfo description,
							void (*describe_function) (StringInfo, Registration *))
{
	Contract   *contract = find_contract(type, length);

	appendStringInfo(description, "current version %d\n", contract->shown);
	for (int i = 0; i < contract->upcaster_count; i++)
	{
		appendStringInfo(description, "from version %d: ", contract->upcasters[i].from);
		describe_function(description, &contract->upcasters[i].registration);
	}
}

/*
 * Under which name a version of a type is registered.
 */
char *
contract_type_registration(const char *type, int length, int32 version)
{
	return registration_name("event type %.*s %d", length, type, version);
}

/*
 * Under which name an upcaster is.
 */
char *
contract_upcaster_registration(const char *type, int length, int32 from)
{
	return registration_name("upcaster %.*s %d", length, type, from);
}

/*
 * What is known of a type, registered or not.  Valid until the next call if
 * there is nothing registered, else until the transaction ends.
 */
static Contract *
find_contract(const char *type, int length)
{
	ContractName name = {type, length};
	Contract   *contract;
	Contract	loaded;
	MemoryContext scratch;
	MemoryContext old;

	/* Tables that this transaction has locked already would not do it. */
	AcceptInvalidationMessages();
	if (cache == NULL || stale)
		start_cache();
	contract = hash_search(cache, &name, HASH_FIND, NULL);
	if (contract != NULL)
		return contract;
	scratch = AllocSetContextCreate(CurrentMemoryContext, "contract to load",
									ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(scratch);
	for (int tries = 1;; tries++)
	{
		memset(&loaded, 0, sizeof(loaded));
		loaded.name = name;
		load_versions(&loaded);
		load_upcasters(&loaded);
		if (!stale || tries == LOOKUP_TRIES)
			break;
		/* Somebody registered something while we were reading. */
		start_cache();
	}
	contract = keep_contract(&loaded);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
	return contract;
}

/*
 * Puts what was read into the cache.
 */
static Contract *
keep_contract(const Contract *loaded)
{
	ContractName name = {NULL, loaded->name.length};
	Contract   *contract;
	bool		found;

	if (loaded->version_count == 0 && loaded->upcaster_count == 0)
	{
		if (unregistered_count == UNREGISTERED_MAX)
			forget_unregistered();
		unregistered_count++;
	}
	name.text = MemoryContextStrdup(cache_context,
									pnstrdup(loaded->name.text, loaded->name.length));
	contract = hash_search(cache, &name, HASH_ENTER, &found);
	*contract = *loaded;
	contract->name = name;
	return contract;
}

/*
 * Makes room for other names that nobody registered.  No call stands in one of
 * these: there is nothing to do for them.
 */
static void
forget_unregistered(void)
{
	HASH_SEQ_STATUS scan;
	Contract   *contract;

	hash_seq_init(&scan, cache);
	while ((contract = hash_seq_search(&scan)) != NULL)
	{
		char	   *text = unconstify(char *, contract->name.text);

		if (contract->version_count > 0 || contract->upcaster_count > 0)
			continue;
		(void) hash_search(cache, &contract->name, HASH_REMOVE, NULL);
		pfree(text);
	}
	unregistered_count = 0;
}

/*
 * Starts with nothing cached.  The old cache goes with the transaction.
 */
static void
start_cache(void)
{
	HASHCTL		control = {0};
	Lookup		lookup;
	Datum		values[UPCASTER_COLUMNS];
	bool		nulls[UPCASTER_COLUMNS];

	callback_on_relation(relation_changed);
	callback_on_catalog(TYPEOID, type_changed);
	cache = NULL;
	unregistered_count = 0;
	cache_begin(&cache_context, "contracts");
	dependencies.relations = NIL;
	dependencies.type_hashes = NIL;
	stale = false;
	registries[0] = extension_relation_oid(&relation_event_type);
	registries[1] = extension_relation_oid(&relation_upcaster);
	lookup_begin(&lookup, &relation_upcaster, &index_upcaster, NULL, 0);
	any_upcaster = lookup_next(&lookup, values, nulls);
	lookup_end(&lookup);
	control.keysize = sizeof(ContractName);
	control.entrysize = sizeof(Contract);
	control.hash = hash_name;
	control.match = match_names;
	control.hcxt = cache_context;
	/* Last, as all that was before may fail. */
	cache = hash_create("contracts", 64, &control,
						HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
}

static uint32
hash_name(const void *key, Size size)
{
	const ContractName *name = key;

	return hash_bytes((const unsigned char *) name->text, name->length);
}

static int
match_names(const void *a, const void *b, Size size)
{
	const ContractName *left = a;
	const ContractName *right = b;

	return left->length != right->length || memcmp(left->text, right->text, left->length) != 0;
}

static void
load_versions(Contract *contract)
{
	Lookup		lookup;
	Datum		values[EVENT_TYPE_COLUMNS];
	bool		nulls[EVENT_TYPE_COLUMNS];
	int			current = 0;

	lookup_begin(&lookup, &relation_event_type, &index_event_type,
				 contract->name.text, contract->name.length);
	while (lookup_next(&lookup, values, nulls))
	{
		int			count = contract->version_count;
		Version    *version;
		MemoryContext old;

		contract->versions = lookup_one_more(cache_context, contract->versions, count,
											  sizeof(Version));
		version = &contract->versions[count];
		memset(version, 0, sizeof(Version));
		version->number = DatumGetInt32(values[EVENT_TYPE_SCHEMA_VERSION]);
		version->payload = DatumGetObjectId(values[EVENT_TYPE_PAYLOAD_TYPE]);
		version->may_be_current = DatumGetBool(values[EVENT_TYPE_MAY_BE_CURRENT]);
		old = MemoryContextSwitchTo(cache_context);
		registration_init(&version->registration,
						  contract_type_registration(contract->name.text, contract->name.length,
													 version->number),
						  NULL, values[EVENT_TYPE_OWNER]);
		MemoryContextSwitchTo(old);
		if (version->may_be_current)
			current = count;
		contract->version_count++;
	}
	lookup_end(&lookup);
	if (contract->version_count == 0)
		return;
	contract->current = &contract->versions[current];
	contract->shown = contract->current->number;
}

static void
load_upcasters(Contract *contract)
{
	Lookup		lookup;
	Datum		values[UPCASTER_COLUMNS];
	bool		nulls[UPCASTER_COLUMNS];

	lookup_begin(&lookup, &relation_upcaster, &index_upcaster,
				 contract->name.text, contract->name.length);
	while (lookup_next(&lookup, values, nulls))
	{
		int			count = contract->upcaster_count++;
		Upcaster   *upcaster;
		MemoryContext old;

		contract->upcasters = lookup_one_more(cache_context, contract->upcasters, count,
											   sizeof(Upcaster));
		upcaster = &contract->upcasters[count];
		memset(upcaster, 0, sizeof(Upcaster));
		upcaster->from = DatumGetInt32(values[UPCASTER_FROM_VERSION]);
		old = MemoryContextSwitchTo(cache_context);
		registration_init(&upcaster->registration,
						  contract_upcaster_registration(contract->name.text,
														 contract->name.length, upcaster->from),
						  TextDatumGetCString(values[UPCASTER_FUNCTION]), values[UPCASTER_OWNER]);
		MemoryContextSwitchTo(old);
	}
	lookup_end(&lookup);
	/* Types that nobody registered have upcasters only. */
	if (contract->upcaster_count > 0 && contract->version_count == 0)
		contract->shown = contract->upcasters[contract->upcaster_count - 1].from + 1;
}

static ContractNode *
tree_of(const Contract *contract, Version *version)
{
	MemoryContext old;
	Rights		before;

	if (version->tree != NULL)
		return version->tree;
	if (!SearchSysCacheExists1(TYPEOID, ObjectIdGetDatum(version->payload)))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("the type that version %d of \"%.*s\" is registered with does not exist",
						version->number, contract->name.length, contract->name.text),
				 errhint("Call event_store.unregister_event_type() and register it anew.")));
	rights_take(registration_owner(&version->registration), &before);
	old = MemoryContextSwitchTo(cache_context);
	version->tree = contract_compile(version->payload, &dependencies);
	MemoryContextSwitchTo(old);
	rights_give_back(&before);
	return version->tree;
}

static void
relation_changed(Oid relation)
{
	if (relation == InvalidOid ||
		relation == registries[0] || relation == registries[1] ||
		list_member_oid(dependencies.relations, relation))
		stale = true;
}

static void
type_changed(Datum arg, int cacheid, uint32 hash)
{
	if (hash == 0 || list_member_int(dependencies.type_hashes, (int) hash))
		stale = true;
}

PG_FUNCTION_INFO_V1(event_store_registry_changed);
/*
 * Trigger on tables that backends cache: makes them all read it again.
 */
Datum
event_store_registry_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("event_store._registry_changed is a trigger")));
	CacheInvalidateRelcache(((TriggerData *) fcinfo->context)->tg_relation);
	return PointerGetDatum(NULL);
}
