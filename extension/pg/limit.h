/*
 * limit.h
 *		How long a turn of a background process may take.
 */
#ifndef ECOMMERCE_PG_LIMIT_H
#define ECOMMERCE_PG_LIMIT_H

#include "postgres.h"

#include <signal.h>

/* What happens when time is up. */
typedef enum LimitScope
{
	LIMIT_TURN,					/* all of the turn is undone: no failure of what it was about */
	LIMIT_PIECE					/* what is cancelled has failed; each piece has the whole time */
} LimitScope;

extern volatile sig_atomic_t limit_passed;
extern volatile sig_atomic_t limit_reached;

extern void limit_begin(LimitScope scope, int portion_ms, int limit_ms);
extern void limit_end(void);
extern void limit_next_piece(void);
extern void limit_set(int limit_ms);
extern bool limit_is_for_pieces(void);
extern bool limit_fails_piece(ErrorData *error);

/* Whether a turn has had its portion, and should end with the piece at hand. */
#define limit_portion_over() (limit_passed != 0)

#endif
