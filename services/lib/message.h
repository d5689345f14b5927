/*
 * message.h
 *		A message of the bus in hand: what it is, and what became of it.
 */
#ifndef SERVICES_LIB_MESSAGE_H
#define SERVICES_LIB_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/context.h"
#include "lib/pg.h"

typedef enum MessageFate
{
	FATE_OPEN, FATE_DONE, FATE_FAILED, FATE_SKIPPED, FATE_SNOOZED
} MessageFate;

typedef struct Message
{
	char	   *delivery_id;
	char	   *body;
	char		attempt[12];
	const PgStatement *handler; /* NULL: nobody here handles this type */
	int			handler_number;
	const char *function;
	const char *skip_parameters[2];
	MessageFate fate;
	int			races;
	uint64_t	started_ns;
	Context		context;
} Message;

void		message_take(Message *message, const PgResults *results, int step, int row,
						 const char *endpoint);
bool		message_is_good(const Message *message);
void		message_end(const Message *message, uint64_t now);
void		message_free(Message *message);

#endif
