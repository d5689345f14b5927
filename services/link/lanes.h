/*
 * lanes.h
 *		How far the lanes of a link are, as this process knows, and as parameters.
 */
#ifndef SERVICES_LINK_LANES_H
#define SERVICES_LINK_LANES_H

#include <stdbool.h>

#include "lib/text.h"

#define LANES_MAX 256
/* Position of a lane that is not to be read. */
#define LANE_LOST (-1)

typedef struct Lane
{
	long long	position;		/* of what the target has */
	long long	confirmed;		/* what the source was told, by us */
	long long	told;			/* and is being told */
	char	   *incarnation;	/* of the source, NULL: unknown */
	bool		sent;			/* more is on its way to the target: */
	long long	sent_upto;		/* up to there, */
	char	   *sent_from;		/* read from that incarnation */
	bool		lost;
} Lane;

typedef struct Lanes
{
	Lane		lane[LANES_MAX];
} Lanes;

/* Some of them as arrays in text form, which is what statements take. */
typedef struct LaneArrays
{
	Text		numbers;
	Text		positions;
	Text		incarnations;
} LaneArrays;

void		lanes_forget(Lanes *lanes);
void		lanes_set(Lanes *lanes, int number, long long position, const char *incarnation,
					  bool lost);
bool		lanes_set_back(const Lanes *lanes, int number, long long position, bool lost);
void		lanes_moved(Lanes *lanes, int number, long long position, const char *incarnation);
void		lanes_sent(Lanes *lanes, int number, long long position, const char *incarnation);
void		lanes_forget_sent(Lanes *lanes);
long long	lane_read_upto(const Lane *lane);
void		lanes_note_confirmed(Lanes *lanes);
bool		lanes_unconfirmed(Lanes *lanes, LaneArrays *arrays);
void		lanes_readable(const Lanes *lanes, LaneArrays *arrays);
bool		lanes_any_lost(const Lanes *lanes);
void		lane_arrays_free(LaneArrays *arrays);

#endif
