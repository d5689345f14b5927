/*
 * stream.h
 *		Streams: names, categories, and the row that appends lock.
 */
#ifndef ECOMMERCE_EVENT_STORE_STREAM_STREAM_H
#define ECOMMERCE_EVENT_STORE_STREAM_STREAM_H

#include "postgres.h"

#include "nodes/lockoptions.h"

#include "event_store/stream/table.h"

#define STREAM_NAME_MAX 255

/* Values of expected_version that are no version. */
#define EXPECTED_ANY (-1)
#define EXPECTED_EXISTS (-2)

typedef struct StreamName
{
	const char *text;
	int			length;
	int			category_length;	/* the category is the beginning of the name */
	int64		key;			/* hash of the name */
	uint32		category_key;	/* hash of the category, as layer log uses it */
} StreamName;

typedef struct Stream
{
	int64		id;				/* 0: the stream does not exist */
	int64		key;			/* where its row stands */
	int64		version;		/* 0: it never had an event */
	int64		deleted_version;	/* its version at delete_stream, 0: never deleted */
	bool		tombstoned;
} Stream;

extern int	control_character(const char *text, int length);
extern void stream_name(StreamName *name, const char *text, int length);
extern uint32 category_key(const char *category, int length);
extern void category_check(const char *text, int length);
extern int	category_length(const char *stream, int length);
extern bool stream_lock(EventTables *tables, const StreamName *name, LockTupleMode mode,
						Stream *stream);
extern bool stream_read(EventTables *tables, const StreamName *name, Snapshot snapshot,
						Stream *stream);
extern int64 stream_id(const StreamName *name, Snapshot snapshot);
extern void expected_version_check(int64 expected);
extern void stream_expect(const StreamName *name, const Stream *stream, int64 expected);
extern void stream_lock_or_create(EventTables *tables, const StreamName *name, LockTupleMode mode,
								  bool likely_new, Stream *stream);

#endif
