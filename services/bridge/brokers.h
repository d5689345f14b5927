/*
 * brokers.h
 *		Where brokers are, and who we are there: a file like pg_service.conf.
 */
#ifndef SERVICES_BRIDGE_BROKERS_H
#define SERVICES_BRIDGE_BROKERS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct Broker
{
	char		host[256];
	char		vhost[256];
	char		user[256];
	char		password[1024];
	char		cacert[1024];	/* of who has signed the broker's certificate */
	int			port;
	int			heartbeat;		/* seconds */
	bool		tls;
} Broker;

bool		broker_find(const char *file, const char *name, int attempt, Broker *broker,
						char *error, size_t size);

#endif
