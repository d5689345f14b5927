/*
 * ecommerce.h
 *		libecommerce: the message bus of the PostgreSQL extension ecommerce, from C.
 *
 * Everything happens in one libevent loop and one thread; nothing here blocks, and
 * nothing may be called from another thread or from a signal handler.  A consumer hands
 * each message of an endpoint to a SQL function; what that writes and sends commits
 * together with the ack, or not at all.  What happens outside of the database, such as a
 * call over HTTP, is work: recorded by such a function, claimed, done by the program,
 * and settled.  A pool and sessions run statements of the program's own.
 *
 *		cc program.c $(pkg-config --cflags --libs libecommerce)
 *
 * Strings and tables in options must stay until what was opened with them is closed;
 * the structures of options themselves are copied.  Each begins with its own size, so
 * that a program goes on working with a later library: say
 * (EcommerceConsumerOptions) {.size = sizeof(EcommerceConsumerOptions), ...}.
 *
 * A program that runs out of memory is ended (abort); a supervisor starts it again,
 * and nothing is lost, since all state is in the database.
 */
#ifndef ECOMMERCE_H
#define ECOMMERCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define ECOMMERCE_BEGIN \
	extern "C" \
	{
#define ECOMMERCE_END }
#else
#define ECOMMERCE_BEGIN
#define ECOMMERCE_END
#endif

ECOMMERCE_BEGIN

struct		event_base;				/* libevent's: event_base_new(), event_base_dispatch() */

/* The version of the library, such as "1.1". */
const char *ecommerce_version(void);

/*
 * Statements.  A connection prepares each once and knows it by its address: static, or
 * kept until the connection closes.  Parameters are text, NULL is null.  Zero the structures:
 * what is added to them later means nothing then.
 */
typedef struct EcommerceStatement
{
	const char *sql;			/* with $1, $2 ... */
	int			nparameters;
	bool		binary;			/* results come in binary form; text is the same in it */
} EcommerceStatement;

typedef struct EcommerceStep
{
	const EcommerceStatement *statement;
	const char *const *parameters;	/* nparameters of them */
	const int  *lengths;		/* NULL, or of each that is in binary form its bytes, else 0 */
} EcommerceStep;

/*
 * What came back from a batch of steps, valid until the callback returns.  A step that
 * fails skips the rest of its batch; without BEGIN of its own a batch is a transaction.
 */
typedef struct EcommerceResults EcommerceResults;
typedef void (*EcommerceDone) (void *argument, const EcommerceResults *results);

bool		ecommerce_succeeded(const EcommerceResults *results);
/* The connection broke first: what the batch did is unknown. */
bool		ecommerce_lost(const EcommerceResults *results);
int			ecommerce_failed_step(const EcommerceResults *results);	/* -1: none */
const char *ecommerce_sqlstate(const EcommerceResults *results);	/* of the error */
const char *ecommerce_message(const EcommerceResults *results);
const char *ecommerce_detail(const EcommerceResults *results);	/* NULL: none */
const char *ecommerce_hint(const EcommerceResults *results);
int			ecommerce_rows(const EcommerceResults *results, int step);
/* Text, NULL for null; rows and columns are counted from 0. */
const char *ecommerce_value(const EcommerceResults *results, int step, int row, int column);

/*
 * A session: one connection that comes back by itself, with back-off, after each loss.
 * setup runs after each connect.  Behind a connection pooler in transaction mode it
 * does not, since the backend serves others too: there transaction goes ahead of each
 * batch (set_config(.., true)), and no notification comes (ecommerce_session_shared).
 */
typedef struct EcommerceSession EcommerceSession;

typedef struct EcommerceSessionOptions
{
	size_t		size;
	struct event_base *base;
	const char *conninfo;		/* libpq's; "": PG* variables */
	const char *application;	/* application_name */
	const EcommerceStep *setup;
	int			nsetup;
	const EcommerceStep *transaction;
	int			ntransaction;
	void		(*ready) (void *argument);	/* usable, after each connect; these may be NULL */
	void		(*lost) (void *argument);
	void		(*notified) (void *argument);	/* of a channel that setup LISTENs to */
	void	   *argument;
} EcommerceSessionOptions;

EcommerceSession *ecommerce_session_open(const EcommerceSessionOptions *options);
bool		ecommerce_session_ready(const EcommerceSession *session);
bool		ecommerce_session_shared(const EcommerceSession *session);
/*
 * Sends a batch in one piece; done is called once, also after a loss or the deadline,
 * which gives the connection up.  Steps and parameters may go when this returns.
 * false, and nothing is called, when the session is not ready or is busy.
 */
bool		ecommerce_session_run(EcommerceSession *session, const EcommerceStep *steps,
								  int nsteps, long deadline_ms, EcommerceDone done,
								  void *argument);
void		ecommerce_session_close(EcommerceSession *session);

/*
 * A pool: a few sessions for many short batches, first come first served.  A batch waits
 * for a free one; beyond max_waiting ecommerce_pool_run says false.  Steps and parameters
 * must stay until done, which gets NULL if the deadline passed before the batch was sent.
 * Of the options base, conninfo, application, setup and transaction count.
 */
typedef struct EcommercePool EcommercePool;

EcommercePool *ecommerce_pool_open(const EcommerceSessionOptions *options, int size,
								   int max_waiting);
bool		ecommerce_pool_run(EcommercePool *pool, const EcommerceStep *steps, int nsteps,
							   long deadline_ms, EcommerceDone done, void *argument);
int			ecommerce_pool_ready(const EcommercePool *pool);	/* connections that are up */
int			ecommerce_pool_waiting(const EcommercePool *pool);	/* batches */
void		ecommerce_pool_close(EcommercePool *pool);

/*
 * Outside work.  Two functions of the program's schema:
 *
 *		claim(max_count int, lease interval) RETURNS TABLE (work_id uuid, fence bigint,
 *			operation text, request jsonb, correlation_id uuid, traceparent text)
 *		settle(work_id uuid, fence bigint, outcome jsonb) RETURNS boolean
 *
 * claim gives out what is due under a lease and a new fence; settle records an outcome if
 * the fence is still the newest one, and says whether it did.  A program that dies in
 * between leaves work whose lease runs out: let claim hand that out as a question, or
 * with the same idempotency key, since nobody knows whether it was done.
 */
typedef struct EcommerceWorkLoop EcommerceWorkLoop;
typedef struct EcommerceWork EcommerceWork;

typedef struct EcommerceWorkOptions
{
	size_t		size;
	struct event_base *base;
	EcommercePool *pool;
	const char *claim;			/* "shop.claim" */
	const char *settle;
	void		(*start) (EcommerceWork *work);	/* must lead to ecommerce_work_settle */
	int			(*room) (void);	/* how many may be started now; NULL: any */
	int			most;			/* at a time */
	long		poll_ms;
	long		lease_ms;
} EcommerceWorkOptions;

EcommerceWorkLoop *ecommerce_work_open(const EcommerceWorkOptions *options);
/* Looks for work at once: something was recorded elsewhere. */
void		ecommerce_work_kick(EcommerceWorkLoop *loop);
/* What is to be done: valid until it is settled. */
const char *ecommerce_work_id(const EcommerceWork *work);
const char *ecommerce_work_operation(const EcommerceWork *work);
const char *ecommerce_work_request(const EcommerceWork *work);	/* JSON */
const char *ecommerce_work_correlation(const EcommerceWork *work);
void		ecommerce_work_traceparent(const EcommerceWork *work, char target[56]);
/*
 * Records how it went, a JSON object that is copied, and forgets the work: once for each.
 * While the database is away it is kept and tried again.
 */
void		ecommerce_work_settle(EcommerceWork *work, const char *outcome);
void		ecommerce_work_drain(EcommerceWorkLoop *loop);	/* claims nothing more */
int			ecommerce_work_pending(const EcommerceWorkLoop *loop);	/* claimed, not settled */
void		ecommerce_work_close(EcommerceWorkLoop *loop);

/*
 * A consumer: receives batches of an endpoint, calls fn(body jsonb) for each message
 * behind a savepoint, and commits all of it with the ack, in two round trips a batch.
 *
 *		an error				undone, message_bus.fail: tried again as the endpoint says
 *		22xxx, 23xxx, ST004		undone, a dead letter at once
 *		40001, 40P01, 23505, ST001, ST020, MB007, SG002
 *							a lost race: undone and done again at once, twice
 *		42xxx, 3F000			the program's fault: the message waits, no attempt counts
 *		longer than timeout_ms	undone, failed with code "timeout"
 *		no handler for the type	a dead letter, "skipped"
 *
 * Any number of programs may consume one endpoint.  One that dies loses nothing.
 */
typedef struct EcommerceConsumer EcommerceConsumer;

/* The table ends with a NULL type. */
typedef struct EcommerceHandler
{
	const char *message_type;
	const char *function;		/* "shop.charge": fn(body jsonb) */
} EcommerceHandler;

typedef struct EcommerceConsumerOptions
{
	size_t		size;
	struct event_base *base;
	const char *conninfo;
	const char *application;
	const char *source;			/* stamped on what the functions send and append */
	const char *endpoint;
	const EcommerceHandler *handlers;
	long		batch;			/* most messages in one transaction; 0: 50 */
	long		poll_ms;		/* also looks this often; 0: 1000 */
	long		timeout_ms;		/* of a message, if the endpoint's is not shorter; 0: 30000 */
	EcommerceWorkLoop *work;	/* claims there what the functions have recorded; may be NULL */
} EcommerceConsumerOptions;

EcommerceConsumer *ecommerce_consumer_open(const EcommerceConsumerOptions *options);
bool		ecommerce_consumer_connected(const EcommerceConsumer *consumer);
/* Takes nothing more; what is in hand is finished, then drained says true. */
void		ecommerce_consumer_drain(EcommerceConsumer *consumer);
bool		ecommerce_consumer_drained(const EcommerceConsumer *consumer);
/* Gives back what is in hand. */
void		ecommerce_consumer_close(EcommerceConsumer *consumer);

/* Log: JSON lines (CLEF) on standard error from Information on, unless told otherwise. */
typedef enum EcommerceLogLevel
{
	ECOMMERCE_DEBUG, ECOMMERCE_INFORMATION, ECOMMERCE_WARNING, ECOMMERCE_ERROR, ECOMMERCE_FATAL
} EcommerceLogLevel;

typedef struct EcommerceLogRecord
{
	EcommerceLogLevel level;
	uint64_t	time_ns;		/* since 1970 */
	const char *message;		/* for people */
	const char *correlation_id; /* NULL outside of messages */
	const char *const *fields;	/* name, value, name, value ... */
	int			nfields;		/* pairs */
} EcommerceLogRecord;

/* file NULL: standard error.  false, having said why: no such level, or no such file. */
bool		ecommerce_log_open(const char *program, const char *level, const char *file);
/* Calls log for each record instead of writing a line; NULL writes lines again. */
void		ecommerce_log_divert(void (*log) (const EcommerceLogRecord *record));

/* Counters of consumers and work in Prometheus' text format; the caller frees it. */
char	   *ecommerce_metrics(void);

/* Frees what the library has kept for log and metrics: last, when all is closed. */
void		ecommerce_cleanup(void);

ECOMMERCE_END

#endif
