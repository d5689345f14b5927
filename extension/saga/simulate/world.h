/*
 * world.h
 *		The world around a simulated saga: participants and messages on their way.
 */
#ifndef ECOMMERCE_SAGA_SIMULATE_WORLD_H
#define ECOMMERCE_SAGA_SIMULATE_WORLD_H

#include "saga/machine/react.h"

/* What a participant does on a command, or by itself. */
typedef struct Deed
{
	const char *to;				/* status of its record; NULL: stays */
	Template   *set;			/* merged into the record */
	List	   *replies;		/* of Reply */
	int			at_most;		/* times per schedule; 0: any number */
} Deed;

typedef struct Reply
{
	const char *type;
	Template   *body;
} Reply;

/* In one status, a command has one of several deeds. */
typedef struct Choice
{
	const char *command;		/* NULL: it happens by itself */
	const char *status;
	List	   *deeds;
} Choice;

typedef struct Participant
{
	const char *name;
	List	   *choices;
} Participant;

typedef struct Check
{
	const char *name;
	bool		at_end;			/* else after every step */
	Path	   *when;
	Path	   *holds;
} Check;

/* A scenario, parsed. */
typedef struct Scenario
{
	const char *start_type;
	Tree	   *start_body;
	List	   *participants;
	List	   *requests;		/* of Tree {type, body}: made at some time, or not */
	List	   *placed;			/* of Tree {type, body, in}: made at once in that state */
	List	   *checks;
	bool		exhaustive;
	bool		idempotent;
	bool		must_end;
	bool		patient;		/* nothing happens by itself before all messages have arrived */
	int			drops;			/* how often at most, per schedule */
	int			duplicates;
	int			timeouts;		/* timers that fire although an answer is on its way */
	int			orders;			/* schedules with the same deeds, which must end alike */
	Template   *alike;			/* in what; NULL: in state and counts */
	int			max_steps;
} Scenario;

/* A message on its way: to a participant (command) or to the saga. */
typedef struct Flight
{
	bool		command;
	const char *type;
	Tree	   *body;
	const char *key;
	bool		sure;			/* is not lost: nobody would ask for it again */
	bool		at_once;		/* arrives before anything else */
} Flight;

typedef struct World
{
	const Scenario *scenario;
	TimestampTz now;
	List	   *flights;
	Tree	   *records;		/* participant: [{key, st, ...}] */
	Tree	   *sent;			/* counts by type */
	Tree	   *published;
	Tree	   *appended;
	List	   *done;			/* of Deed: those done that have a limit */
	uint64		deed_seed;		/* deeds follow from it, in whatever order commands arrive */
	int			(*choose) (void *chooser, int count);
	void	   *chooser;
} World;

extern Scenario *scenario_parse(const Tree *tree);
extern void world_receive(World *world, const Flight *command);
extern int	world_can_happen(World *world);
extern const char *world_happen(World *world, int which);
extern void world_take(World *world, const Effects *effects);
extern Tree *world_document(World *world, const Machine *machine);

#endif
