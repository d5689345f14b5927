/*
 * roster.c
 *		What a daemon serves, as rows of its database say: opened, closed, and opened anew
 *		when its row changes.
 */
#include "lib/roster.h"

#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/session.h"
#include "lib/text.h"

#define DEADLINE_MS 60000
#define MAX_ENTRIES 100

typedef struct RosterEntry
{
	char	   *name;
	char	   *all;
	void	   *item;
} RosterEntry;

struct Roster
{
	RosterOptions options;
	Session    *session;
	struct event *timer;
	RosterEntry entries[MAX_ENTRIES];
	int			count;
	bool		again;			/* a change was told of while rows were being read */
	bool		draining;
};

static void look(void *argument);
static void on_look(void *argument, const PgResults *results);
static void on_time(evutil_socket_t socket, short what, void *argument);
static bool still_there(const RosterEntry *entry, const PgResults *results);
static bool is_open(const Roster *roster, const char *name);
static void open_entry(Roster *roster, const PgResults *results, int row);
static void close_entry(Roster *roster, RosterEntry *entry);

Roster *
roster_open(const RosterOptions *options)
{
	Roster	   *roster = memory_zero(1, sizeof(*roster));
	SessionOptions session = {.base = options->base, .conninfo = options->conninfo,
		.application = options->application, .setup = options->setup, .nsetup = options->nsetup,
		.ready = look, .notified = look, .argument = roster};

	roster->options = *options;
	roster->timer = evtimer_new(options->base, on_time, roster);
	roster->session = session_open(&session);
	return roster;
}

/* Looks what there is. */
static void
look(void *argument)
{
	Roster	   *roster = argument;
	PgStep		step = {roster->options.read, NULL};
	long		idle = roster->options.idle_ms;
	struct timeval wait = {idle / 1000, idle % 1000 * 1000};

	roster->again = !session_run(roster->session, &step, 1, DEADLINE_MS, on_look, roster);
	evtimer_add(roster->timer, &wait);
}

static void
on_time(evutil_socket_t socket, short what, void *argument)
{
	(void) socket;
	(void) what;
	look(argument);
}

/* Closes what is gone or different by now, opens what is new. */
static void
on_look(void *argument, const PgResults *results)
{
	Roster	   *roster = argument;
	int			kept = 0;

	if (pg_lost(results) || roster->draining)
		return;
	if (!pg_succeeded(results))
	{
		log_write(LEVEL_WARNING, NULL, "What is to be served cannot be read: {Error}", "Error",
				  pg_message(results), NULL);
		return;
	}
	for (int i = 0; i < roster->count; i++)
	{
		if (still_there(&roster->entries[i], results))
			roster->entries[kept++] = roster->entries[i];
		else
			close_entry(roster, &roster->entries[i]);
	}
	roster->count = kept;
	for (int row = 0; row < pg_rows(results, 0) && roster->count < MAX_ENTRIES; row++)
	{
		if (strcmp(pg_value(results, 0, row, ROSTER_WANTED), "t") == 0 &&
			!is_open(roster, pg_value(results, 0, row, ROSTER_NAME)))
			open_entry(roster, results, row);
	}
	if (roster->again)
		look(roster);
}

static bool
still_there(const RosterEntry *entry, const PgResults *results)
{
	for (int row = 0; row < pg_rows(results, 0); row++)
		if (strcmp(pg_value(results, 0, row, ROSTER_NAME), entry->name) == 0)
			return strcmp(pg_value(results, 0, row, ROSTER_ALL), entry->all) == 0;
	return false;
}

static bool
is_open(const Roster *roster, const char *name)
{
	for (int i = 0; i < roster->count; i++)
		if (strcmp(roster->entries[i].name, name) == 0)
			return true;
	return false;
}

static void
open_entry(Roster *roster, const PgResults *results, int row)
{
	const char *name = pg_value(results, 0, row, ROSTER_NAME);

	roster->entries[roster->count++] = (RosterEntry) {
		memory_string(name), memory_string(pg_value(results, 0, row, ROSTER_ALL)),
		roster->options.open(results, row)
	};
	log_write(LEVEL_INFORMATION, NULL, "{Name} is opened", "Name", name, NULL);
}

static void
close_entry(Roster *roster, RosterEntry *entry)
{
	log_write(LEVEL_INFORMATION, NULL, "{Name} is closed", "Name", entry->name, NULL);
	roster->options.close(entry->item);
	free(entry->name);
	free(entry->all);
}

/* "ok", or the first that is not well, and why. */
const char *
roster_state(const Roster *roster)
{
	static Text text = {0};

	for (int i = 0; roster && i < roster->count; i++)
	{
		const char *its = roster->options.state(roster->entries[i].item);

		if (strcmp(its, "ok") == 0)
			continue;
		text_reset(&text);
		text_format(&text, "%s: %s", roster->entries[i].name, its);
		return text.data;
	}
	return "ok";
}

/* What is in hand is finished, nothing new is begun; how many are not done yet. */
int
roster_pending(Roster *roster)
{
	int			busy = 0;

	roster->draining = true;
	for (int i = 0; i < roster->count; i++)
		busy += !roster->options.drained(roster->entries[i].item);
	return busy;
}

void
roster_close(Roster *roster)
{
	if (roster == NULL)
		return;
	for (int i = 0; i < roster->count; i++)
		close_entry(roster, &roster->entries[i]);
	session_close(roster->session);
	event_free(roster->timer);
	free(roster);
}
