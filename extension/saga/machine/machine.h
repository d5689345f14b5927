/*
 * machine.h
 *		An instance of a saga in memory.
 *
 * Trees in it are never changed in place, so keeping the pointer to data is
 * keeping a copy.  Lists are the machine's own.
 */
#ifndef ECOMMERCE_SAGA_MACHINE_MACHINE_H
#define ECOMMERCE_SAGA_MACHINE_MACHINE_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "utils/uuid.h"

#include "saga/definition/definition.h"

typedef struct ArmedTimer
{
	int			timer;
	TimestampTz due;
	int64		token;			/* a new one each time it is set */
} ArmedTimer;

/* A compensation that was sent, or waits for its turn, and is not confirmed. */
typedef struct Outstanding
{
	int			rule;			/* of "owed"; NOWHERE: of a step, by "compensate" */
	const char *step;			/* of "compensate" */
	const char *key;
	Tree	   *body;			/* of "compensate", as first sent */
	int			sends;
	bool		given_up;
	TimestampTz since;			/* first sent; 0: it waits for its turn */
	TimestampTz next;			/* when to resend or give up; DT_NOEND: not by itself */
} Outstanding;

/* A "compensate" that is under way. */
typedef struct Undo
{
	bool		parallel;
	bool		stops;			/* at a step that is given up */
	bool		given_up;
	int			then;			/* states */
	int			give_up;
	int			from;			/* where it went on when it was given up */
	Backoff    *resend;
	Tree	   *resend_source;
	int64		give_up_after;	/* milliseconds */
} Undo;

typedef struct Machine
{
	Definition *definition;
	pg_uuid_t	id;				/* the saga's correlation id */
	const char *id_text;
	int64		number;			/* of the row, 0: not stored yet */
	int			state;
	int			version;		/* 0: not created yet */
	Tree	   *data;
	TimestampTz created_at;
	TimestampTz updated_at;
	TimestampTz state_since;
	TimestampTz wake_at;		/* earliest entry of the timer queue, DT_NOEND: none */
	List	   *timers;			/* of ArmedTimer */
	int64		last_token;
	Tree	   *sends;			/* key: number of messages sent with it */
	Tree	   *resends;		/* timer: {step, key, left} */
	Tree	   *steps;			/* [{step, key}], in the order they were sent */
	List	   *outstanding;	/* of Outstanding */
	Undo	   *undo;
	const char *alarm;
	TimestampTz alarm_since;
	int			timer_failures;	/* in a row */
	const char *timer_error;	/* of the last of them */
	Tree	   *context;		/* of the message that created it */
	bool		attended;		/* stored as one that may be stuck */
} Machine;

extern Machine *machine_new(Definition *definition, const pg_uuid_t *id, TimestampTz now);
extern Tree *machine_encode(const Machine *machine);
extern void machine_decode(Machine *machine, const Tree *engine);
extern Machine *machine_copy(const Machine *machine);

extern void machine_arm(Machine *machine, int timer, TimestampTz due);
extern bool machine_disarm(Machine *machine, int timer);
extern ArmedTimer *machine_armed(const Machine *machine, int timer);
extern ArmedTimer *machine_next_timer(const Machine *machine);
extern uint64 machine_seed(const Machine *machine, const char *what);

#endif
