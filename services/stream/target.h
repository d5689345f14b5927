/*
 * target.h
 *		What a kind of target has to be able to do. All of it may block; a thread does it.
 *
 * A target keeps events and place in one piece: either it has both or none. Whoever
 * opens it shuts out whoever had it open before, and only then reads the place. After
 * any failure it is closed: what has become of the events is known when it is open
 * again, and the place is read.
 */
#ifndef SERVICES_STREAM_TARGET_H
#define SERVICES_STREAM_TARGET_H

#include "lib/worker.h"
#include "stream/parcel.h"

#define TARGET_ERROR 500

typedef struct TargetOptions
{
	Worker	   *worker;			/* says when to stop waiting */
	const char *brokers;		/* file */
	const char *sink;
	const json_t *options;		/* of the sink */
} TargetOptions;

typedef struct TargetKind
{
	const char *name;
	/* NULL, and error says why; a place that is not known is all zeroes */
	void	   *(*open) (const TargetOptions *options, Place *place, char *error);
	bool		(*publish) (void *target, const Parcel *parcel, char *error);
	void		(*close) (void *target);
} TargetKind;

extern const TargetKind target_kafka;
extern const TargetKind target_jetstream;

extern void jetstream_end(void);

const TargetKind *target_kind(const char *name);
const char *target_option(const TargetOptions *options, const char *name);

#endif
