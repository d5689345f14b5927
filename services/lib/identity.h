/*
 * identity.h
 *		Whose request it is, and what its routes take: scopes of API keys.
 *
 * The gateway finds out who is calling and says so in headers, together with a
 * secret that only it and the daemons know; without the secret nothing that a
 * request says about its caller is believed.
 */
#ifndef SERVICES_LIB_IDENTITY_H
#define SERVICES_LIB_IDENTITY_H

#include <stdbool.h>
#include <event2/keyvalq_struct.h>

#include "lib/context.h"

/*
 * Whom a route lets in; a route that names nobody is refused at the start.
 * OWN: a customer, who sees and changes what is his alone; the route's function
 * learns who that is by the argument "caller".  CUSTOMER: any customer, for what
 * belongs to no customer.  GATEWAY: the gateway on its own behalf.
 */
enum Access
{
	ACCESS_PUBLIC = 1,
	ACCESS_GATEWAY = 2,
	ACCESS_OWN = 4,
	ACCESS_CUSTOMER = 8,
	ACCESS_WAREHOUSE = 16,
	ACCESS_OPERATOR = 32
};

typedef struct Identity
{
	int			access;			/* what the caller may pass for */
	char		customer_id[UUID_LENGTH + 1];	/* of a customer's key, else empty */
} Identity;

void		identity_take(Identity *identity, Context *context, const struct evkeyvalq *headers,
						  const char *secret);

#endif
