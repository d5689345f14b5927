/*
 * stripe.h
 *		Stripe as payment provider: authorize, capture, query, refund.
 */
#ifndef SERVICES_PAYMENT_STRIPE_H
#define SERVICES_PAYMENT_STRIPE_H

#include "lib/work.h"

bool		stripe_start(const char *base_url, const char *secret_key, long timeout_ms);
void		stripe_call(WorkItem *item);
int			stripe_room(void);
const char *stripe_state(void);

#endif
