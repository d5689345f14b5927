/*
 * deletion.h
 *		Deletions of streams, as the events that readers may ask for.
 */
#ifndef ECOMMERCE_EVENT_STORE_STREAM_DELETION_H
#define ECOMMERCE_EVENT_STORE_STREAM_DELETION_H

#include "postgres.h"

#include "utils/snapshot.h"

#include "pg/relation.h"

/* Types of such events; nobody else may append them. */
#define EVENT_TYPE_DELETED "$deleted"
#define EVENT_TYPE_TOMBSTONED "$tombstoned"

/* Its columns are those of stored_event, see table.h. */
extern ExtensionRelation relation_deletion;
extern ExtensionRelation index_deletion_position;
extern ExtensionRelation index_deletion_category;

extern bool deletion_type(const char *type, int length);
extern bool deletion_any(void);
extern int64 deletion_newest_position(Snapshot snapshot);

#endif
