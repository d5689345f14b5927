/*
 * turn.h
 *		One reaction while it is worked out: what it sees, changes and sends.
 */
#ifndef ECOMMERCE_SAGA_MACHINE_TURN_H
#define ECOMMERCE_SAGA_MACHINE_TURN_H

#include "saga/machine/effects.h"
#include "saga/machine/fact.h"

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

extern void turn_begin(Turn *turn, Machine *machine, const Input *input, Effects *effects);
extern void turn_finish(Turn *turn, Decision decision);
extern Document *turn_document(Turn *turn);
extern void turn_note(Turn *turn, const char *action, Tree *details);
extern void turn_conflict(Turn *turn, const Fact *fact, const char *key, const char *from,
						  const char *to);
extern void turn_enter(Turn *turn, int state);
extern void turn_change_record(Turn *turn, const Fact *fact, int to, Tree *record, Tree *set);
extern Tree *turn_body(Turn *turn, const Template *body, const char *key);
extern OutMessage *turn_send(Turn *turn, const char *endpoint, const char *type, Tree *body,
							 const char *key);
extern void turn_set_timer(Turn *turn, int timer, TimestampTz due);

#endif
