/*
 * effects.h
 *		What happens to an instance, and what comes of it.
 */
#ifndef ECOMMERCE_SAGA_MACHINE_EFFECTS_H
#define ECOMMERCE_SAGA_MACHINE_EFFECTS_H

#include "saga/machine/machine.h"

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

typedef enum Reacted
{
	OUTCOME_NOTHING,			/* ignored, or known already */
	OUTCOME_EFFECTIVE,			/* version rose by one */
	OUTCOME_DEFERRED,
	OUTCOME_FAULTED
} Reacted;

typedef struct Effects
{
	Reacted		outcome;
	bool		store;			/* the machine must be written, effective or not */
	bool		moved;			/* the state is another one */
	int			from;			/* state before; NOWHERE: it was created */
	List	   *messages;		/* of OutMessage */
	List	   *events;			/* of OutEvent */
	Tree	   *actions;		/* for the history */
	List	   *conflicts;		/* texts: facts that contradict what is known */
} Effects;

#endif
