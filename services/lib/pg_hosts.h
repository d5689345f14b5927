/*
 * pg_hosts.h
 *		Which of several servers a connection is made to.
 */
#ifndef SERVICES_LIB_PG_HOSTS_H
#define SERVICES_LIB_PG_HOSTS_H

#include <libpq-fe.h>
#include <stdbool.h>

typedef struct PgHosts PgHosts;

PgHosts    *pg_hosts_open(const char *conninfo, const char *application, const char *user,
						  const char *password);
PGconn	   *pg_hosts_start(PgHosts *hosts);
long		pg_hosts_patience_ms(const PgHosts *hosts);
bool		pg_hosts_moved(PgHosts *hosts, const PGconn *pg);
bool		pg_hosts_leave_out(PgHosts *hosts, const PGconn *pg);
void		pg_hosts_close(PgHosts *hosts);

#endif
