/*
 * pg_hosts.c
 *		Which of several servers a connection is made to.
 *
 * libpq tries the hosts of a connection string in their order, but as long as it must
 * not block it waits without end for one that takes the connection and says nothing
 * more.  Such a one is left out after connect_timeout, and the others are tried from
 * the first.  It is left out of this connection only: the next begins with all.
 */
#include "lib/pg_hosts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/text.h"

#define CONNECT_TIMEOUT_SECONDS 10

/* Options that are lists, an entry for each server. */
enum
{
	LIST_HOST, LIST_ADDRESS, LIST_PORT, LISTS
};

struct PgHosts
{
	char	   *conninfo;
	char	   *application;
	char	   *user;
	char	   *password;
	char	   *lists[LISTS];	/* NULL: as libpq has it */
	long		patience_ms;
	Text		tried;			/* the server that was tried when last asked */
};

static void read_options(PgHosts *hosts, PGconn *pg);
static int	count_servers(const PgHosts *hosts);
static const char *item(const char *list, int number, size_t *length);
static bool is_item(const char *list, int number, const char *value, const char *otherwise);
static bool is_tried(const PgHosts *hosts, int number, const PGconn *pg);
static char *copy_or_null(const char *string);

static char *
copy_or_null(const char *string)
{
	return string ? memory_string(string) : NULL;
}

/* conninfo is a libpq connection string; user and password, where given, win over it. */
PgHosts *
pg_hosts_open(const char *conninfo, const char *application, const char *user,
			  const char *password)
{
	PgHosts    *hosts = memory_zero(1, sizeof(*hosts));

	hosts->conninfo = copy_or_null(conninfo);
	hosts->application = copy_or_null(application);
	hosts->user = copy_or_null(user);
	hosts->password = copy_or_null(password);
	return hosts;
}

/*
 * Begins to connect, as PQconnectStart does, to the first of those that are not left out.
 */
PGconn *
pg_hosts_start(PgHosts *hosts)
{
	/*
	 * Of two values libpq takes the later, so conninfo's win over those before it and lose
	 * against those after it; a NULL value counts as not given.
	 */
	const char *const names[] = {"fallback_application_name", "keepalives_idle",
		"keepalives_interval", "keepalives_count", "tcp_user_timeout", "dbname", "user", "password",
	"client_encoding", "host", "hostaddr", "port", NULL};
	/* JSON is UTF-8, whatever the database or the environment prefers */
	const char *const values[] = {hosts->application, "30", "10", "3", "30000", hosts->conninfo,
		hosts->user, hosts->password, "UTF8", hosts->lists[LIST_HOST],
	hosts->lists[LIST_ADDRESS], hosts->lists[LIST_PORT], NULL};
	PGconn	   *pg = PQconnectStartParams(names, values, 1);

	if (pg != NULL && hosts->patience_ms == 0)
		read_options(hosts, pg);
	if (pg != NULL)
		(void) pg_hosts_moved(hosts, pg);
	return pg;
}

/* What the connection string, the service file and the environment come to. */
static void
read_options(PgHosts *hosts, PGconn *pg)
{
	static const char *const lists[LISTS] = {"host", "hostaddr", "port"};
	PQconninfoOption *options = PQconninfo(pg);

	hosts->patience_ms = CONNECT_TIMEOUT_SECONDS * 1000;
	for (PQconninfoOption *option = options; option && option->keyword; option++)
	{
		if (option->val == NULL || option->val[0] == '\0')
			continue;
		for (int i = 0; i < LISTS; i++)
			if (strcmp(option->keyword, lists[i]) == 0)
				hosts->lists[i] = memory_string(option->val);
		/* 0 is libpq's for ever */
		if (strcmp(option->keyword, "connect_timeout") == 0 && atol(option->val) > 0)
			hosts->patience_ms = atol(option->val) * 1000;
	}
	PQconninfoFree(options);
}

/* How long a server may say nothing while it is connected to. */
long
pg_hosts_patience_ms(const PgHosts *hosts)
{
	return hosts->patience_ms;
}

/* Whether libpq has gone on to another server since it was last asked. */
bool
pg_hosts_moved(PgHosts *hosts, const PGconn *pg)
{
	Text		now = {0};
	bool		moved;

	text_format(&now, "%s %s", PQhost(pg), PQport(pg));
	moved = strcmp(text_value(&now), text_value(&hosts->tried)) != 0;
	text_free(&hosts->tried);
	hosts->tried = now;
	return moved;
}

/*
 * Leaves out the server that is being tried; false if there is no other.
 */
bool
pg_hosts_leave_out(PgHosts *hosts, const PGconn *pg)
{
	int			servers = count_servers(hosts);
	int			left = 0;
	Text		kept[LISTS] = {{0}};

	for (int number = 0; number < servers; number++)
	{
		if (is_tried(hosts, number, pg))
			continue;
		for (int i = 0; i < LISTS; i++)
		{
			size_t		length;
			const char *entry = item(hosts->lists[i], number, &length);

			text_add(&kept[i], left > 0 ? "," : "");
			text_add_n(&kept[i], entry, length);
		}
		left++;
	}
	for (int i = 0; i < LISTS; i++)
	{
		if (left > 0 && left < servers && hosts->lists[i])
		{
			free(hosts->lists[i]);
			hosts->lists[i] = text_take(&kept[i]);
		}
		text_free(&kept[i]);
	}
	return left > 0 && left < servers;
}

static int
count_servers(const PgHosts *hosts)
{
	const char *list = hosts->lists[LIST_ADDRESS] ? hosts->lists[LIST_ADDRESS]
		: hosts->lists[LIST_HOST];
	int			count = list ? 1 : 0;

	for (const char *c = list; c && *c; c++)
		count += *c == ',';
	return count;
}

/* One entry of a list; one port alone is everybody's. */
static const char *
item(const char *list, int number, size_t *length)
{
	*length = 0;
	if (list == NULL)
		return "";
	if (strchr(list, ',') == NULL)
		number = 0;
	for (; number > 0 && *list; number--)
	{
		list += strcspn(list, ",");
		if (*list)
			list++;
	}
	*length = strcspn(list, ",");
	return list;
}

static bool
is_item(const char *list, int number, const char *value, const char *otherwise)
{
	size_t		length;
	const char *entry = item(list, number, &length);

	if (length == 0)
		return strcmp(value, otherwise) == 0;
	return strlen(value) == length && strncmp(entry, value, length) == 0;
}

/* Whether it is this server that libpq is trying. */
static bool
is_tried(const PgHosts *hosts, int number, const PGconn *pg)
{
	const char *host = PQhost(pg);
	size_t		length;

	(void) item(hosts->lists[LIST_HOST], number, &length);
	return is_item(hosts->lists[length > 0 ? LIST_HOST : LIST_ADDRESS], number, host, "") &&
		is_item(hosts->lists[LIST_PORT], number, PQport(pg), "5432");
}

void
pg_hosts_close(PgHosts *hosts)
{
	if (hosts == NULL)
		return;
	for (int i = 0; i < LISTS; i++)
		free(hosts->lists[i]);
	if (hosts->password)
		explicit_bzero(hosts->password, strlen(hosts->password));
	free(hosts->conninfo);
	free(hosts->application);
	free(hosts->user);
	free(hosts->password);
	text_free(&hosts->tried);
	free(hosts);
}
