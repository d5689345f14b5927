/*
 * settle.h
 *		How deliveries end.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_GO_SETTLE_H
#define ECOMMERCE_MESSAGE_BUS_GO_SETTLE_H

#include "postgres.h"

#include "base/errors.h"
#include "message_bus/endpoint/endpoint.h"
#include "message_bus/go/held.h"


#endif
