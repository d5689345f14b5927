/*
 * guard.c
 *		Slows down whoever tries passwords: for each role and address together.
 *
 * The first tries are free, then each must wait twice as long as the one before, up
 * to half a minute.  A try counts when it begins, so that many at once are no way
 * around it; one that succeeds takes all of them back.  Since the address is part of
 * it, nobody can keep the owner of a role out from elsewhere.
 *
 * The table has a fixed size.  Where it is full, the entry that was idle for longest
 * makes room.
 */
#include "console/guard.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "lib/text.h"

#define PLACES 1024
#define FREE_TRIES 3
#define FIRST_WAIT_MS 1000
#define LONGEST_WAIT_MS 30000
#define FORGOTTEN_MS 900000

typedef struct Entry
{
	char		who[128];		/* empty: free */
	int			tries;			/* since the last that succeeded */
	uint64_t	last;
} Entry;

static Entry entries[PLACES];

static void name(char *who, size_t size, const char *role, const char *address);
static Entry *find(const char *who);
static Entry *find_place(void);
static long wait_after(int tries);

/* Milliseconds until the next try may begin, 0: now. */
long
guard_wait(const char *role, const char *address, uint64_t now)
{
	char		who[sizeof(entries->who)];
	const Entry *entry;
	uint64_t	wait;

	name(who, sizeof(who), role, address);
	entry = find(who);
	if (entry == NULL || now - entry->last >= FORGOTTEN_MS)
		return 0;
	wait = (uint64_t) wait_after(entry->tries);
	return now - entry->last >= wait ? 0 : (long) (wait - (now - entry->last));
}

/* Somebody tries a password now. */
void
guard_begin(const char *role, const char *address, uint64_t now)
{
	char		who[sizeof(entries->who)];
	Entry	   *entry;

	name(who, sizeof(who), role, address);
	entry = find(who);
	if (entry == NULL)
	{
		entry = find_place();
		*entry = (Entry) {0};
		copy_string(entry->who, sizeof(entry->who), who);
	}
	if (now - entry->last >= FORGOTTEN_MS)
		entry->tries = 0;
	entry->tries++;
	entry->last = now;
}

/* Nobody has looked at the password: the last try does not count. */
void
guard_take_back(const char *role, const char *address)
{
	char		who[sizeof(entries->who)];
	Entry	   *entry;

	name(who, sizeof(who), role, address);
	entry = find(who);
	if (entry && entry->tries > 0)
		entry->tries--;
}

/* It was the right one. */
void
guard_succeeded(const char *role, const char *address)
{
	char		who[sizeof(entries->who)];
	Entry	   *entry;

	name(who, sizeof(who), role, address);
	entry = find(who);
	if (entry)
		*entry = (Entry) {0};
}

void
guard_clear(void)
{
	memset(entries, 0, sizeof(entries));
}

/* What does not fit is as good as what begins so. */
static void
name(char *who, size_t size, const char *role, const char *address)
{
	snprintf(who, size, "%s %s", address, role);
}

static Entry *
find(const char *who)
{
	for (Entry *entry = entries; entry < entries + PLACES; entry++)
		if (strcmp(entry->who, who) == 0)
			return entry;
	return NULL;
}

/* A free one, or the one that was idle for longest. */
static Entry *
find_place(void)
{
	Entry	   *oldest = entries;

	for (Entry *entry = entries; entry < entries + PLACES; entry++)
	{
		if (entry->who[0] == '\0')
			return entry;
		if (entry->last < oldest->last)
			oldest = entry;
	}
	return oldest;
}

static long
wait_after(int tries)
{
	long		wait = FIRST_WAIT_MS;

	if (tries < FREE_TRIES)
		return 0;
	for (int i = FREE_TRIES; i < tries && wait < LONGEST_WAIT_MS; i++)
		wait *= 2;
	return wait < LONGEST_WAIT_MS ? wait : LONGEST_WAIT_MS;
}
