/*
 * ecommerce.c
 *		libecommerce: the public names of what others can use of this library.
 *
 * What ecommerce.h says, said in the words of the daemons' own headers.  The shared
 * library exports these names and nothing else (ecommerce.map).  Options are copied as
 * far as the caller's structure reaches; what it does not have is zero.
 */
#include "lib/ecommerce.h"

#include <stdlib.h>
#include <string.h>

#include "lib/consumer.h"
#include "lib/log.h"
#include "lib/metrics.h"
#include "lib/pg.h"
#include "lib/pool.h"
#include "lib/session.h"
#include "lib/text.h"
#include "lib/work.h"

#define BATCH 50
#define POLL_MS 1000
#define TIMEOUT_MS 30000

/* Copies options of the size that the caller knows. */
#define COPY_OPTIONS(target, source) \
	memcpy(&(target), (source), (source)->size < sizeof(target) ? (source)->size : sizeof(target))

struct EcommerceConsumer
{
	Consumer   *consumer;
	WorkLoop   *work;
};

static void (*log_to) (const EcommerceLogRecord *record);

static SessionOptions session_options(const EcommerceSessionOptions *given);
static const PgStep *offer_work(void *argument);
static void on_committed(void *argument, const PgResults *results, int step);
static void on_rolled_back(void *argument);
static void on_log(const LogRecord *record);

const char *
ecommerce_version(void)
{
	return ECOMMERCE_VERSION;
}

bool
ecommerce_succeeded(const EcommerceResults *results)
{
	return pg_succeeded(results);
}

bool
ecommerce_lost(const EcommerceResults *results)
{
	return pg_lost(results);
}

int
ecommerce_failed_step(const EcommerceResults *results)
{
	return pg_failed_step(results);
}

const char *
ecommerce_sqlstate(const EcommerceResults *results)
{
	return pg_sqlstate(results);
}

const char *
ecommerce_message(const EcommerceResults *results)
{
	return pg_message(results);
}

const char *
ecommerce_detail(const EcommerceResults *results)
{
	return pg_detail(results);
}

const char *
ecommerce_hint(const EcommerceResults *results)
{
	return pg_hint(results);
}

int
ecommerce_rows(const EcommerceResults *results, int step)
{
	return pg_rows(results, step);
}

const char *
ecommerce_value(const EcommerceResults *results, int step, int row, int column)
{
	return pg_value(results, step, row, column);
}

EcommerceSession *
ecommerce_session_open(const EcommerceSessionOptions *options)
{
	SessionOptions session = session_options(options);

	return session_open(&session);
}

bool
ecommerce_session_ready(const EcommerceSession *session)
{
	return session_ready(session);
}

bool
ecommerce_session_shared(const EcommerceSession *session)
{
	return session_shared(session);
}

bool
ecommerce_session_run(EcommerceSession *session, const EcommerceStep *steps, int nsteps,
					  long deadline_ms, EcommerceDone done, void *argument)
{
	return session_ready(session) &&
		session_run(session, steps, nsteps, deadline_ms, done, argument);
}

void
ecommerce_session_close(EcommerceSession *session)
{
	session_close(session);
}

EcommercePool *
ecommerce_pool_open(const EcommerceSessionOptions *options, int size, int max_waiting)
{
	SessionOptions session = session_options(options);

	return pool_open(&session, size, max_waiting);
}

bool
ecommerce_pool_run(EcommercePool *pool, const EcommerceStep *steps, int nsteps,
				   long deadline_ms, EcommerceDone done, void *argument)
{
	return pool_run(pool, steps, nsteps, deadline_ms, done, argument);
}

int
ecommerce_pool_ready(const EcommercePool *pool)
{
	return pool_ready(pool);
}

int
ecommerce_pool_waiting(const EcommercePool *pool)
{
	return pool_waiting(pool);
}

void
ecommerce_pool_close(EcommercePool *pool)
{
	pool_close(pool);
}

EcommerceWorkLoop *
ecommerce_work_open(const EcommerceWorkOptions *options)
{
	EcommerceWorkOptions given = {0};

	COPY_OPTIONS(given, options);
	return work_open(&(WorkOptions) {
		given.base, given.pool, given.claim, given.settle, given.start, given.room, given.most,
		given.poll_ms, given.lease_ms
	});
}

void
ecommerce_work_kick(EcommerceWorkLoop *loop)
{
	work_kick(loop);
}

const char *
ecommerce_work_id(const EcommerceWork *work)
{
	return work->id;
}

const char *
ecommerce_work_operation(const EcommerceWork *work)
{
	return work->operation;
}

const char *
ecommerce_work_request(const EcommerceWork *work)
{
	return work->request;
}

const char *
ecommerce_work_correlation(const EcommerceWork *work)
{
	return work->context.correlation_id;
}

void
ecommerce_work_traceparent(const EcommerceWork *work, char target[56])
{
	context_traceparent(&work->context, target);
}

void
ecommerce_work_settle(EcommerceWork *work, const char *outcome)
{
	work_settle(work, outcome);
}

void
ecommerce_work_drain(EcommerceWorkLoop *loop)
{
	work_drain(loop);
}

int
ecommerce_work_pending(const EcommerceWorkLoop *loop)
{
	return work_pending(loop);
}

void
ecommerce_work_close(EcommerceWorkLoop *loop)
{
	work_close(loop);
}

EcommerceConsumer *
ecommerce_consumer_open(const EcommerceConsumerOptions *options)
{
	EcommerceConsumer *consumer = memory_zero(1, sizeof(*consumer));
	EcommerceConsumerOptions given = {0};
	ConsumerOptions own;

	COPY_OPTIONS(given, options);
	own = (ConsumerOptions) {
		.base = given.base, .conninfo = given.conninfo, .application = given.application,
		.source = given.source, .endpoint = given.endpoint, .handlers = given.handlers,
		.batch = given.batch ? given.batch : BATCH,
		.poll_ms = given.poll_ms ? given.poll_ms : POLL_MS,
		.timeout_ms = given.timeout_ms ? given.timeout_ms : TIMEOUT_MS, .argument = consumer
	};
	consumer->work = given.work;
	if (given.work)
	{
		own.closing = offer_work;
		own.committed = on_committed;
		own.rolled_back = on_rolled_back;
	}
	consumer->consumer = consumer_open(&own);
	return consumer;
}

bool
ecommerce_consumer_connected(const EcommerceConsumer *consumer)
{
	return consumer_connected(consumer->consumer);
}

void
ecommerce_consumer_drain(EcommerceConsumer *consumer)
{
	consumer_drain(consumer->consumer);
}

bool
ecommerce_consumer_drained(const EcommerceConsumer *consumer)
{
	return consumer_drained(consumer->consumer);
}

void
ecommerce_consumer_close(EcommerceConsumer *consumer)
{
	if (consumer == NULL)
		return;
	consumer_close(consumer->consumer);
	free(consumer);
}

bool
ecommerce_log_open(const char *program, const char *level, const char *file)
{
	return log_open(program, level, file);
}

void
ecommerce_log_divert(void (*log) (const EcommerceLogRecord *record))
{
	log_to = log;
	log_divert(log ? on_log : NULL);
}

char *
ecommerce_metrics(void)
{
	Text		text = {0};

	metrics_write(&text);
	return text_take(&text);
}

void
ecommerce_cleanup(void)
{
	metrics_clear();
	log_close();
}

static SessionOptions
session_options(const EcommerceSessionOptions *options)
{
	EcommerceSessionOptions given = {0};

	COPY_OPTIONS(given, options);
	return (SessionOptions) {
		.base = given.base, .conninfo = given.conninfo, .application = given.application,
		.setup = given.setup, .nsetup = given.nsetup, .transaction = given.transaction,
		.ntransaction = given.ntransaction, .ready = given.ready, .lost = given.lost,
		.notified = given.notified, .argument = given.argument
	};
}

static const PgStep *
offer_work(void *argument)
{
	EcommerceConsumer *consumer = argument;

	return work_offer(consumer->work);
}

static void
on_committed(void *argument, const PgResults *results, int step)
{
	EcommerceConsumer *consumer = argument;

	if (step >= 0)
		work_take(consumer->work, results, step);
	else
		work_kick(consumer->work);
}

static void
on_rolled_back(void *argument)
{
	EcommerceConsumer *consumer = argument;

	work_take(consumer->work, NULL, 0);
}

static void
on_log(const LogRecord *record)
{
	EcommerceLogRecord given = {
		.level = (EcommerceLogLevel) record->level, .time_ns = record->time_ns,
		.message = record->message,
		.correlation_id = record->context ? record->context->correlation_id : NULL,
		.fields = record->fields, .nfields = record->nfields
	};

	log_to(&given);
}
