/*
 * settings.c
 *		Every setting of the extension, as a table.
 *
 * None is PGC_POSTMASTER: the library must also work when it is loaded late.
 */
#include "postgres.h"

#include <limits.h>

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include "base/compat.h"
#include "base/currency.h"
#include "pg/settings.h"

bool		setting_event_store_allow_rewrite = false;
bool		setting_event_store_allow_drop = false;
int			setting_event_store_max_event_size = 1024 * 1024;
int			setting_event_store_max_metadata_size = 1024 * 1024;
int			setting_event_store_notify_interval = 10;
char	   *setting_ecommerce_source = NULL;
bool		setting_ecommerce_require_registered_types = false;
char	   *setting_ecommerce_currency = NULL;
int			setting_saga_workers = 1;
int			setting_ecommerce_handler_timeout = 30 * 1000;
int			setting_ecommerce_cell = 0;
bool		setting_saga_log_transitions = true;
int			setting_message_bus_max_depth = -1;
int			setting_message_bus_max_message_size = 16 * 1024 * 1024;
int			setting_message_bus_random_seed = -1;
int			setting_message_bus_dedupe_window = 60 * 1000;
int			setting_message_bus_dead_letter_retention = -1;
int			setting_message_bus_inbox_retention = 7 * 24 * 60 * 60;

/* Read by SQL alone, in what ecommerce.problems asks. */
static int	long_transaction = 30 * 60;
static int	disk_low = 5;

typedef struct BoolSetting
{
	const char *name;
	bool	   *variable;
	bool		initial;
	GucContext	context;
	const char *description;
} BoolSetting;

typedef struct IntSetting
{
	const char *name;
	int		   *variable;
	int			initial;
	int			min;
	int			max;
	GucContext	context;
	int			flags;
	const char *description;
} IntSetting;

typedef struct StringSetting
{
	const char *name;
	char	  **variable;
	const char *initial;
	GucContext	context;
	GucStringCheckHook check;	/* NULL: any text will do */
	const char *description;
} StringSetting;

static bool check_currency(char **value, void **extra, GucSource source);

static const BoolSetting bool_settings[] = {
	{"event_store.allow_rewrite", &setting_event_store_allow_rewrite, false, PGC_SUSET,
	 "Lets this session change or delete stored events, for repairs only."},
	{"event_store.allow_drop", &setting_event_store_allow_drop, false, PGC_SUSET,
	 "Lets this session drop the extension while events exist."},
	{"ecommerce.require_registered_types", &setting_ecommerce_require_registered_types, false,
	 PGC_SUSET, "Refuses events and messages whose type is not registered."},
	{"saga.log_transitions", &setting_saga_log_transitions, true, PGC_SUSET,
	 "Writes a line to the server log for every transition of a saga."},
};

static const IntSetting int_settings[] = {
	{"event_store.max_event_size", &setting_event_store_max_event_size,
		1024 * 1024, 64, 256 * 1024 * 1024, PGC_SUSET, GUC_UNIT_BYTE,
	"Greatest size of an event's data."},
	{"event_store.max_metadata_size", &setting_event_store_max_metadata_size,
		1024 * 1024, 1024, 16 * 1024 * 1024, PGC_SUSET, GUC_UNIT_BYTE,
	"Greatest size of an event's metadata, of a message's headers and of a context's."},
	{"event_store.notify_interval", &setting_event_store_notify_interval,
		10, 1, 60 * 1000, PGC_SIGHUP, GUC_UNIT_MS,
	"Least time between two notifications on one channel."},
	{"ecommerce.handler_timeout", &setting_ecommerce_handler_timeout,
		30 * 1000, 1, INT_MAX, PGC_SUSET, GUC_UNIT_MS,
	"How long a projection's handler may take for one event in the background."},
	{"ecommerce.long_transaction", &long_transaction, 30 * 60, -1, INT_MAX, PGC_SUSET, GUC_UNIT_S,
	"How long a transaction may be open before ecommerce.problems tells of it; -1 is for ever."},
	{"ecommerce.disk_low", &disk_low, 5, 0, 100, PGC_SUSET, 0,
	"With less room on a disk, in percent, ecommerce.problems tells of it; 0 is never."},
	{"ecommerce.cell", &setting_ecommerce_cell, 0, 0, 4095, PGC_SUSET, 0,
	"Number of this database among those that share the same work; ecommerce.new_id() carries it."},
	{"saga.workers", &setting_saga_workers, 1, 0, 64, PGC_SUSET, 0,
	"Number of background workers that run this database's sagas; 0 switches them off."},
	{"message_bus.max_depth", &setting_message_bus_max_depth,
		-1, -1, INT_MAX, PGC_SUSET, 0,
	"Greatest depth of endpoints that have none of their own; -1 is unlimited."},
	{"message_bus.max_message_size", &setting_message_bus_max_message_size,
		16 * 1024 * 1024, 1024, 256 * 1024 * 1024, PGC_SUSET, GUC_UNIT_BYTE,
	"Greatest size of a message's body."},
	{"message_bus.random_seed", &setting_message_bus_random_seed,
		-1, -1, INT_MAX, PGC_SUSET, 0,
	"Seed of the delays of retries, for tests; -1 takes one from the system."},
	{"message_bus.dedupe_window", &setting_message_bus_dedupe_window,
		60 * 1000, 100, 24 * 60 * 60 * 1000, PGC_SIGHUP, GUC_UNIT_MS,
	"How long after its ack a message is still known, at least; bounds the ring too."},
	{"message_bus.dead_letter_retention", &setting_message_bus_dead_letter_retention,
		-1, -1, INT_MAX, PGC_SUSET, GUC_UNIT_S,
	"How long dead letters are kept after their last failure; -1 is for ever."},
	{"message_bus.inbox_retention", &setting_message_bus_inbox_retention,
		7 * 24 * 60 * 60, 7, INT_MAX, PGC_SUSET, GUC_UNIT_S,
	"How long a foreign message's id is known, at least, so that it takes effect once."},
};

static const StringSetting string_settings[] = {
	{"ecommerce.source", &setting_ecommerce_source, "", PGC_USERSET, NULL,
	"Name of the publishing service, stamped on events and messages."},
	{"ecommerce.currency", &setting_ecommerce_currency, "USD", PGC_USERSET, check_currency,
	"Currency of the shop's amounts, as in ISO 4217."},
};

static const char *const prefixes[] = {"ecommerce", "event_store", "message_bus", "saga"};

/*
 * Defines all settings and reserves their prefixes, so that a misspelt one
 * is refused.  Call once, from _PG_init.
 */
void
settings_define(void)
{
	for (int i = 0; i < lengthof(bool_settings); i++)
	{
		const BoolSetting *s = &bool_settings[i];

		DefineCustomBoolVariable(s->name, s->description, NULL, s->variable,
								 s->initial, s->context, 0, NULL, NULL, NULL);
	}
	for (int i = 0; i < lengthof(int_settings); i++)
	{
		const IntSetting *s = &int_settings[i];

		DefineCustomIntVariable(s->name, s->description, NULL, s->variable, s->initial,
								s->min, s->max, s->context, s->flags, NULL, NULL, NULL);
	}
	for (int i = 0; i < lengthof(string_settings); i++)
	{
		const StringSetting *s = &string_settings[i];

		DefineCustomStringVariable(s->name, s->description, NULL, s->variable, s->initial,
								   s->context, 0, s->check, NULL, NULL);
	}
	for (int i = 0; i < lengthof(prefixes); i++)
		MarkGUCPrefixReserved(prefixes[i]);
}

/* Amounts would be wrong at the payment provider in a currency of unknown decimals. */
static bool
check_currency(char **value, void **extra, GucSource source)
{
	if (currency_minor_units(*value) >= 0)
		return true;
	GUC_check_errdetail("It is not the code of a currency of ISO 4217.");
	GUC_check_errhint("Write three capital letters, as in 'EUR'; "
					  "SELECT * FROM ecommerce.currencies() shows all.");
	return false;
}

PG_FUNCTION_INFO_V1(ecommerce_currency);

/* ecommerce.currency() RETURNS text */
Datum
ecommerce_currency(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(setting_ecommerce_currency));
}
