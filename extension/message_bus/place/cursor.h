/*
 * cursor.h
 *		The cursors of lanes, on disk.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_PLACE_CURSOR_H
#define ECOMMERCE_MESSAGE_BUS_PLACE_CURSOR_H

#include "postgres.h"

#include "message_bus/know/handle.h"

extern bool cursor_move(const Endpoint *endpoint, int32 lane, int64 position);
extern bool cursor_fold(void);

#endif
