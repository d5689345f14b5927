/*
 * link.h
 *		Links: where they read, where what they bring goes, and how far they are.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_LINK_LINK_H
#define ECOMMERCE_MESSAGE_BUS_LINK_LINK_H

#include "postgres.h"

#include "fmgr.h"

typedef struct Link
{
	int32		id;
	char	   *name;
	char	   *source;			/* name of the service that is read */
	char	   *target;			/* endpoint; NULL: published */
	int32		endpoint_id;	/* its own, for dead letters */
	bool		paused;
} Link;

/* How far a lane is; without a row it is at 0 and nothing is known. */
typedef struct LinkLane
{
	bool		exists;
	int64		position;
	char	   *incarnation;	/* of the source, NULL: unknown */
	char	   *error_code;		/* not NULL: lost, and why */
	char	   *error;
} LinkLane;

extern Link *link_argument(FunctionCallInfo fcinfo);
extern void link_lane_read(const Link *link, int32 lane, LinkLane *state);
extern bool link_lane_move(const Link *link, int32 lane, const LinkLane *from, int64 upto,
						   int count, const char *incarnation);
extern void link_lane_begin(const Link *link, int32 lane);
extern void link_lane_count_refused(const Link *link, int32 lane, int refused);

#endif
