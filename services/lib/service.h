/*
 * service.h
 *		A daemon as data: what it serves, consumes, does, and how it is set up.
 */
#ifndef SERVICES_LIB_SERVICE_H
#define SERVICES_LIB_SERVICE_H

#include "lib/config.h"
#include "lib/consumer.h"
#include "lib/duty.h"
#include "lib/http.h"
#include "lib/outcall.h"
#include "lib/work.h"

typedef struct Runtime Runtime;

/* A dependency's state in /health/ready; "ok" is good, anything else is not. */
typedef struct HealthCheck
{
	const char *name;			/* "provider", "mail" */
	const char *(*state) (void);
} HealthCheck;

typedef struct Service
{
	const char *program;		/* "inventoryd" */
	const char *source;			/* "InventoryService", stamped on what it publishes */
	const char *role;			/* database user unless the string names one; may be NULL */
	const char *port;
	const char *endpoint;		/* of the bus; NULL: consumes nothing */
	const char *bus;			/* endpoint without which it is not ready; NULL: the one above */
	const MessageHandler *handlers;
	const HttpRoute *routes;
	const char *follows;		/* category of events that routes follow; may be NULL */
	const Duty *duties;
	Option	   *options;		/* its own, may be NULL */
	const char *claim;			/* outside work, may be NULL */
	const char *settle;
	void		(*work) (WorkItem *item);
	int			(*room) (void);	/* how much work may be started, may be NULL */
	bool		(*start) (Runtime *runtime);	/* after the options are known */
	const HealthCheck *checks;	/* ends with a NULL name; may be NULL */
	const char *openapi;		/* the document, NULL-terminated; may be NULL */
	const HttpHeader *headers;	/* of every reply; may be NULL */
	const char *pool_size;		/* unless told; NULL: as all have it */
	void		(*metrics) (Text *target);	/* adds to /metrics; may be NULL */
	void		(*stop) (void);	/* before the HTTP server goes; may be NULL */
	int			(*pending) (void);	/* when stopping: what is in hand still; may be NULL */
} Service;

struct Runtime
{
	const Service *service;
	struct event_base *base;
	Pool	   *pool;
	Consumer   *consumer;
	WorkLoop   *work;
	DutyRoster *duties;
	struct Follower *follower;
	HttpServer *http;
	const char *conninfo;		/* as told; what it leaves out comes from PG* variables */
	const char *own_conninfo;	/* the same as the service's own role */
	bool		draining;
};

const char *service_conninfo(void);
int			service_main(const Service *service, int argc, char **argv);

#endif
