/*
 * identity.c
 *		Whose request it is, as the gateway says in headers of its own.
 *
 * Fails closed: a secret that is not set matches nothing, a scope that is not
 * known is none, a customer without a customer id is nobody.
 */
#include "lib/identity.h"

#include <string.h>
#include <event2/http.h>
#include <openssl/crypto.h>

#include "lib/text.h"

typedef struct Scope
{
	const char *name;
	int			access;
} Scope;

static const Scope scopes[] = {
	{"customer", ACCESS_OWN | ACCESS_CUSTOMER},
	{"warehouse", ACCESS_WAREHOUSE},
	{"operator", ACCESS_OPERATOR},
};

static bool is_gateway(const char *given, const char *secret);
static const char *header(const struct evkeyvalq *headers, const char *name);

/* Sets the identity, and whose doing it is in the context. */
void
identity_take(Identity *identity, Context *context, const struct evkeyvalq *headers,
			  const char *secret)
{
	const char *customer = header(headers, "X-Customer-Id");

	*identity = (Identity) {.access = ACCESS_PUBLIC};
	if (!is_gateway(header(headers, "X-Gateway-Secret"), secret))
		return;
	identity->access |= ACCESS_GATEWAY;
	for (size_t i = 0; i < lengthof(scopes); i++)
		if (strcmp(header(headers, "X-Scope"), scopes[i].name) == 0)
			identity->access |= scopes[i].access;
	if (identity->access & ACCESS_OWN)
	{
		if (uuid_valid(customer))
			copy_string(identity->customer_id, sizeof(identity->customer_id), customer);
		else
			identity->access &= ~(ACCESS_OWN | ACCESS_CUSTOMER);
	}
	copy_string(context->user_id, sizeof(context->user_id), header(headers, "X-User-Id"));
	copy_string(context->tenant_id, sizeof(context->tenant_id), header(headers, "X-Tenant-Id"));
}

/* Takes as long however much of the secret is right. */
static bool
is_gateway(const char *given, const char *secret)
{
	size_t		length = strlen(secret);

	return length > 0 && strlen(given) == length && CRYPTO_memcmp(given, secret, length) == 0;
}

static const char *
header(const struct evkeyvalq *headers, const char *name)
{
	const char *value = evhttp_find_header(headers, name);

	return value ? value : "";
}
