/*
 * react.h
 *		How an instance reacts to an event: a function of both, without a database.
 *
 * The engine stores and sends what comes out; the simulator looks at it.  Errors
 * (a guard that is neither true nor false, a template that matches nothing) leave
 * the machine unusable: work on a copy, or load it again.
 */
#ifndef ECOMMERCE_SAGA_REACT_H
#define ECOMMERCE_SAGA_REACT_H

#include "saga/machine.h"

/* What happens to an instance. */
typedef struct Input
{
	int			event;			/* NOWHERE: none of the definition's */
	const char *name;
	Tree	   *message;		/* body; NULL for timers */
	Tree	   *envelope;
	TimestampTz now;
	const char *reason;			/* of an operator */
} Input;

typedef struct OutMessage
{
	const char *endpoint;		/* NULL: published */
	const char *type;
	int32		schema_version; /* 0: the one that the definition goes by */
	Tree	   *body;
	pg_uuid_t	message_id;
	const char *step_key;		/* NULL: published */
	const char *partition_key;
} OutMessage;

typedef struct OutEvent
{
	const char *stream;
	const char *type;
	int32		schema_version; /* as above */
	Tree	   *data;
	int64		expected_version;	/* -1: any */
	bool		skip_existing;
} OutEvent;

typedef enum Outcome
{
	OUTCOME_NOTHING,			/* ignored, or known already */
	OUTCOME_EFFECTIVE,			/* version rose by one */
	OUTCOME_DEFERRED,
	OUTCOME_FAULTED
} Outcome;

typedef struct Effects
{
	Outcome		outcome;
	bool		store;			/* the machine must be written, effective or not */
	bool		moved;			/* the state is another one */
	int			from;			/* state before; NOWHERE: it was created */
	List	   *messages;		/* of OutMessage */
	List	   *events;			/* of OutEvent */
	Tree	   *actions;		/* for the history */
	List	   *conflicts;		/* texts: facts that contradict what is known */
} Effects;

extern bool react_start(Machine *machine, const Input *input, Effects *effects);
extern void react(Machine *machine, const Input *input, Effects *effects);
extern void react_timer(Machine *machine, int timer, TimestampTz now, Effects *effects);
extern void react_goto(Machine *machine, int state, const Input *input, Effects *effects);
extern void react_retry(Machine *machine, const Input *input, Effects *effects);
extern bool react_cancel(Machine *machine, const Input *input, Effects *effects);
extern void react_migrated(Machine *machine, const Input *input, Effects *effects);

#endif
