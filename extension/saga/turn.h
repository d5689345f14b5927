/*
 * turn.h
 *		One reaction while it is worked out; shared by react.c, action.c and owed.c.
 */
#ifndef ECOMMERCE_SAGA_TURN_H
#define ECOMMERCE_SAGA_TURN_H

#include "saga/fact.h"
#include "saga/react.h"

typedef struct Turn
{
	Machine    *machine;
	const Input *input;
	Effects    *effects;
	Tree	   *data_before;
	bool		effective;
	bool		alarmed;
	int			owed_count;		/* for $.owed */
	int			published;		/* messages without step key so far */
	/* What $.record and $.key mean at the moment; NULL: nothing. */
	int			fact;
	Tree	   *record;
	const char *key;
	Document	document;
	/* What the document was made from, to see whether it still holds. */
	Tree	   *seen_data;
	Tree	   *seen_record;
	const char *seen_key;
	int			seen_state;
	int			seen_owed;
} Turn;

/* react.c */
extern Document *turn_document(Turn *turn);
extern void turn_enter(Turn *turn, int state);
extern void turn_note(Turn *turn, const char *action, Tree *details);
extern void turn_conflict(Turn *turn, const Fact *fact, const char *key, const char *from,
						  const char *to);
extern bool turn_take(Turn *turn, List *transitions);

/* action.c */
extern void apply_transition(Turn *turn, Transition *transition);
extern OutMessage *send_command(Turn *turn, const char *endpoint, const char *type, Tree *body,
								const char *key);
extern bool resend_command(Turn *turn, int timer);
extern void set_timer(Turn *turn, int timer, TimestampTz due);
extern void change_record(Turn *turn, const Fact *fact, int to, Tree *record, Tree *set);
extern Tree *evaluate_body(Turn *turn, const Template *body, const char *key);

/* owed.c */
extern void count_owed(Turn *turn);
extern bool pursue_owed(Turn *turn);
extern bool pursue_due(Turn *turn);
extern void begin_undo(Turn *turn, CompensateAction *compensate);
extern bool confirm_undo(Turn *turn);
extern void abandon_undo(Turn *turn);
extern bool hear_refusals(Turn *turn);
extern void retry_outstanding(Turn *turn);
extern void arm_outstanding(Turn *turn);

#endif
