/*
 * limit.c
 *		How long a turn of a background process may take.
 *
 * A turn has a portion of time, after which it ends with the piece of work at
 * hand, and a limit, after which what runs is cancelled.  In who is in a hurry the
 * limit is for the turn: everything of it is undone and somebody with more time
 * takes it up.  In who is not, each piece has the limit for itself and has failed
 * when it is reached.
 *
 * Two timers and two flags that their handlers set.  Outside a turn, and in all
 * other processes, no time passes.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "pg/limit.h"

/* A function that goes on although it was cancelled is cancelled again, in milliseconds. */
#define CANCEL_AGAIN 100

volatile sig_atomic_t limit_passed = 0;
volatile sig_atomic_t limit_reached = 0;

static bool active = false;
static LimitScope scope = LIMIT_TURN;
static int	portion = 0;
static int	limit = 0;
static bool running = false;	/* the timers are set */
static bool registered = false;
static TimeoutId portion_timer;
static TimeoutId limit_timer;

static void portion_is_over(void);
static void limit_is_reached(void);
static void start_limit(void);

/*
 * A turn begins.  Times are in milliseconds; they run from the first piece of work,
 * so a look that finds none sets no timer.
 */
void
limit_begin(LimitScope new_scope, int portion_ms, int limit_ms)
{
	if (!registered)
	{
		portion_timer = RegisterTimeout(USER_TIMEOUT, portion_is_over);
		limit_timer = RegisterTimeout(USER_TIMEOUT, limit_is_reached);
		registered = true;
	}
	scope = new_scope;
	portion = portion_ms;
	limit = limit_ms;
	active = true;
	running = false;
	limit_passed = limit_reached = 0;
}

/*
 * The turn is over, however it ended.  A cancel that came too late is void.
 */
void
limit_end(void)
{
	if (!active)
		return;
	active = false;
	if (!running)
		return;
	disable_timeout(portion_timer, false);
	disable_timeout(limit_timer, false);
	if (limit_reached)
		QueryCancelPending = false;
}

/*
 * The next piece of work begins: it has all its time before it, if it is pieces
 * that time is measured for.
 */
void
limit_next_piece(void)
{
	if (!active || (running && scope != LIMIT_PIECE))
		return;
	if (!running)
	{
		running = true;
		enable_timeout_after(portion_timer, portion);
		start_limit();
		return;
	}
	disable_timeout(limit_timer, false);
	if (limit_reached)
		QueryCancelPending = false;
	limit_reached = 0;
	start_limit();
}

/*
 * From the next piece on another limit holds for pieces.
 */
void
limit_set(int limit_ms)
{
	if (active && scope == LIMIT_PIECE)
		limit = limit_ms;
}

/*
 * Whether the limit is for pieces, and none for the turn.
 */
bool
limit_is_for_pieces(void)
{
	return active && scope == LIMIT_PIECE;
}

/*
 * Whether an error means that the piece at hand has failed, although it is a
 * cancel: nobody but the limit wanted it.  Then the error says so, and what
 * follows has all its time.
 */
bool
limit_fails_piece(ErrorData *error)
{
	if (error->sqlerrcode != ERRCODE_QUERY_CANCELED)
		return true;
	if (!limit_is_for_pieces() || !limit_reached)
		return false;
	error->message = psprintf("took longer than %d ms", limit);
	limit_next_piece();
	return true;
}

static void
start_limit(void)
{
	compat_timeout_every(limit_timer, limit, CANCEL_AGAIN);
}

static void
portion_is_over(void)
{
	limit_passed = 1;
}

/*
 * As StatementCancelHandler(), in a signal handler like it.
 */
static void
limit_is_reached(void)
{
	limit_reached = 1;
	if (!proc_exit_inprogress)
	{
		InterruptPending = true;
		QueryCancelPending = true;
	}
	SetLatch(MyLatch);
}
