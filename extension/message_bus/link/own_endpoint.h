/*
 * own_endpoint.h
 *		The endpoint of a link or bridge itself, for dead letters that no other gets.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_LINK_OWN_ENDPOINT_H
#define ECOMMERCE_MESSAGE_BUS_LINK_OWN_ENDPOINT_H

#include "postgres.h"

extern void own_endpoint_check_name(const char *name, const char *what);
extern int32 own_endpoint_create(const char *prefix, const char *owner);
extern void own_endpoint_drop(int32 endpoint_id, bool force);

#endif
