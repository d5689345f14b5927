/*
 * carrier_parts.h
 *		What the files of a link share.
 */
#ifndef SERVICES_LINK_CARRIER_PARTS_H
#define SERVICES_LINK_CARRIER_PARTS_H

#include "lib/session.h"
#include "link/carrier.h"
#include "link/lanes.h"
#include "link/portion.h"

#define DEADLINE_MS 60000
#define RETRY_MIN_MS 20
#define RETRY_MAX_MS 2000
/* At least this often the target is told that the source is there. */
#define HEARTBEAT_MS 60000

typedef enum Phase
{
	PHASE_DOWN,					/* a connection is missing, or busy with what is no longer wanted */
	PHASE_LOADING,
	PHASE_READING,
	PHASE_ACCEPTING,
	PHASE_CHECKING,				/* which lane it is that the source refuses */
	PHASE_LOSING,
	PHASE_WAITING,				/* the source says when there is something */
	PHASE_RESTING
} Phase;

/* What is read while the target accepts what was read before. */
typedef enum Ahead
{
	AHEAD_NONE,
	AHEAD_READING,
	AHEAD_READ,
	AHEAD_UNWANTED				/* is being read, but does not follow what the target has */
} Ahead;

struct Carrier
{
	CarrierOptions options;
	char	   *name;
	char	   *source;
	char	   *endpoint;
	char	   *conninfo;
	PgStep		setup[2];
	Session    *from;
	Session    *to;
	Phase		phase;
	bool		paused;
	bool		reload;			/* the link was changed while it was busy */
	bool		waiting;		/* a backend of the source does, whatever the phase is */
	int			vain;			/* times in a row that it has waited for nothing */
	bool		calmed;			/* and has rested after that */
	bool		confirming;		/* the reading under way tells what has arrived */
	int			read_step;		/* of its batch */
	bool		reached;		/* the source has answered since the target was told so */
	uint64_t	heard;			/* when it was told, or took something */
	int			attempt;		/* in a row without success */
	char		trouble[6];		/* SQLSTATE of the last one, "" when all is well */
	long		batch;
	int			width;
	int			turn;
	Lanes		lanes;
	LaneArrays	arrived;
	LaneArrays	wanted;
	Portions	portions;		/* that the target accepts */
	Ahead		ahead;
	Portions	next;			/* those that come then */
	bool		suspect;		/* the source has refused a position */
	int			checked;		/* lane that is being checked */
	Text		loss;			/* why that one is lost */
	struct event *timer;
};

bool		carrier_expected(Carrier *carrier, Phase phase, const PgResults *results);
void		carrier_on_ready(void *argument);
void		carrier_load(Carrier *carrier);
bool		carrier_hear_is_due(const Carrier *carrier);
void		carrier_read_next(Carrier *carrier);
void		carrier_read_ahead(Carrier *carrier);
void		carrier_drop_ahead(Carrier *carrier);
void		carrier_wait(Carrier *carrier);
void		carrier_accept(Carrier *carrier);
void		carrier_go_on(Carrier *carrier);
void		carrier_check_next(Carrier *carrier);
void		carrier_rest(Carrier *carrier, long milliseconds);
void		carrier_retry(Carrier *carrier, const PgResults *results, const char *what);

#endif
