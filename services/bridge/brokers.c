/*
 * brokers.c
 *		Where brokers are, and who we are there: a file like pg_service.conf.
 *
 *		[rabbit]
 *		host=rabbit-1,rabbit-2
 *		user=ecommerce
 *		password=...
 *
 * It is read at each attempt to connect, so that what is changed there counts at once.
 * Several hosts are tried in turn.
 */
#include "bridge/brokers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/sections.h"
#include "lib/text.h"

/* A setting of a section, as a table. */
typedef struct BrokerSetting
{
	const char *name;
	size_t		offset;
	size_t		size;			/* of a text; 0: a number; 1: on or off */
} BrokerSetting;

#define TEXT_SETTING(name) \
	{ \
#name, offsetof(Broker, name), sizeof(((Broker *) 0)->name) \
	}

static const BrokerSetting settings[] = {
	TEXT_SETTING(host), TEXT_SETTING(vhost), TEXT_SETTING(user), TEXT_SETTING(password),
	TEXT_SETTING(cacert), {"port", offsetof(Broker, port), 0},
	{"heartbeat", offsetof(Broker, heartbeat), 0}, {"tls", offsetof(Broker, tls), 1}
};

static bool set(void *argument, const char *name, const char *value);
static void choose_host(Broker *broker, int attempt);

/*
 * The broker of a name; false and why if there is none.  attempt counts from 0 and says
 * which of several hosts.
 */
bool
broker_find(const char *path, const char *name, int attempt, Broker *broker, char *error,
			size_t size)
{
	bool		found;

	*broker = (Broker) {.host = "localhost", .vhost = "/", .user = "guest",
		.password = "guest", .heartbeat = 10};
	found = section_read(path, name, set, broker, error, size);
	choose_host(broker, attempt);
	if (broker->port == 0)
		broker->port = broker->tls ? 5671 : 5672;
	return found;
}

static bool
set(void *argument, const char *name, const char *value)
{
	for (size_t i = 0; i < lengthof(settings); i++)
	{
		char	   *target = (char *) argument + settings[i].offset;

		if (strcmp(settings[i].name, name) != 0)
			continue;
		if (settings[i].size > 1)
			copy_string(target, settings[i].size, value);
		else if (settings[i].size == 1)
			*(bool *) target = strcmp(value, "on") == 0;
		else
			*(int *) target = atoi(value);
		return true;
	}
	return false;
}

/* Of host-1,host-2 one, in turn. */
static void
choose_host(Broker *broker, int attempt)
{
	char		hosts[sizeof(broker->host)];
	char	   *rest = hosts;
	char	   *host;
	int			count = 1;

	copy_string(hosts, sizeof(hosts), broker->host);
	for (const char *c = hosts; *c; c++)
		count += *c == ',';
	for (int i = 0; (host = strsep(&rest, ",")) != NULL; i++)
		if (i == attempt % count)
			copy_string(broker->host, sizeof(broker->host), section_trim(host));
}
