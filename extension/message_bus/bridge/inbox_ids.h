/*
 * inbox_ids.h
 *		Looking ids up in the tables of the inbox, and noting them.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_BRIDGE_INBOX_IDS_H
#define ECOMMERCE_MESSAGE_BUS_BRIDGE_INBOX_IDS_H

#include "postgres.h"

#include "utils/timestamp.h"
#include "utils/uuid.h"

#define INBOX_SLOTS 8

/* What is noted of a message. */
typedef struct InboxNote
{
	pg_uuid_t	message_id;
	Datum		conversation_id;
	Datum		request;
	bool		no_conversation;	/* the two above are not null unless */
	bool		no_request;
} InboxNote;

typedef struct InboxIds InboxIds;

extern InboxIds *inbox_ids_open(int32 bridge_id, int most);
extern bool inbox_ids_known(InboxIds *ids, const pg_uuid_t *id);
extern bool inbox_ids_note(InboxIds *ids, const InboxNote *note);
extern void inbox_ids_close(InboxIds *ids, int slot, TimestampTz now);

#endif
