/*
 * dead_letter.h
 *		Messages that will not be delivered again unless somebody says so.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_GO_DEAD_LETTER_H
#define ECOMMERCE_MESSAGE_BUS_GO_DEAD_LETTER_H

#include "postgres.h"

#include "message_bus/endpoint/endpoint.h"
#include "message_bus/place/aside.h"
#include "message_bus/place/row.h"

/* The message that tells of a dead letter. */
#define FAULT_TYPE "Fault"

extern void dead_letter(const Endpoint *endpoint, const RowValues *row, const char *reason,
						const Failure *failure);

#endif
