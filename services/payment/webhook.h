/*
 * webhook.h
 *		Whether a webhook was signed by the provider.
 */
#ifndef SERVICES_PAYMENT_WEBHOOK_H
#define SERVICES_PAYMENT_WEBHOOK_H

#include <stdbool.h>
#include <stddef.h>

bool		webhook_signature_valid(const char *header, const char *body, size_t length,
									const char *secret, long now);

#endif
