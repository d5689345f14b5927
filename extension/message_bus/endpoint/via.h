/*
 * via.h
 *		The databases that a message has come through: its header "via".
 */
#ifndef ECOMMERCE_MESSAGE_BUS_ENDPOINT_VIA_H
#define ECOMMERCE_MESSAGE_BUS_ENDPOINT_VIA_H

#include "postgres.h"

#include "utils/jsonb.h"

extern bool via_has(Jsonb *headers, const char *name);
extern Jsonb *via_add(Jsonb *headers, const char *name);

#endif
