/*
 * test_pool.c
 *		Session and pool against a scripted libpq: reconnection, waiting,
 *		deadlines, refusal under overload.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/api.h"
#include "lib/context.h"
#include "lib/log.h"
#include "lib/pool.h"
#include "tests/unit/fake_pq.h"

#define PATIENCE_MS 10000

static const PgStatement setup_statement = {"SELECT setup", 0};
static const PgStatement work_statement = {"SELECT work($1)", 1};
static const PgStep setup_step = {&setup_statement, NULL};
static const PgStatement settings_statement = {"SELECT settings", 0};
static const PgStep settings_step = {&settings_statement, NULL};

static struct event_base *base;
static Pool *pool;
static int	done;
static int	succeeded;
static int	lost;
static int	overdue;
static char last_value[32];

static void
on_done(void *argument, const PgResults *results)
{
	const char *value;

	(void) argument;
	done++;
	if (results == NULL)
		overdue++;
	else if (pg_lost(results))
		lost++;
	else if (pg_succeeded(results))
	{
		succeeded++;
		value = pg_value(results, 0, 0, 0);
		strncpy(last_value, value ? value : "null", sizeof(last_value) - 1);
	}
}

static void
open_pool(const FakeStep *steps, int size, int max_waiting)
{
	done = succeeded = lost = overdue = 0;
	base = event_base_new();
	fake_script(steps);
	pool = pool_open(&(SessionOptions) {
		.base = base, .conninfo = "", .application = "test", .setup = &setup_step, .nsetup = 1,
		.transaction = &settings_step, .ntransaction = 1
	}, size, max_waiting);
}

static void
turn_until(const int *counter, int target)
{
	uint64_t	until = clock_steady_ms() + PATIENCE_MS;

	while (*counter < target)
	{
		if (clock_steady_ms() > until)
			fail_msg("script stopped at step %d", fake_position());
		event_base_loop(base, EVLOOP_ONCE);
	}
}

static void
close_pool(void)
{
	assert_true(fake_finished());
	pool_close(pool);
	event_base_free(base);
}

static const char *const parameter[] = {"x"};
static const PgStep work_step = {&work_statement, parameter};
static const char *const answer[] = {"42", FAKE_STOP};

#define SETUP FAKE_OK("SELECT setup", "")
#define SETTINGS FAKE_OK("SELECT settings", "")
#define WORK \
	{ \
		"SELECT work", "x", FAKE_ROWS, 1, answer, NULL, NULL \
	}

static void
test_work_waits_for_the_connection(void **state)
{
	const FakeStep steps[] = {SETUP, WORK, WORK, {.kind = FAKE_END}};

	(void) state;
	open_pool(steps, 1, 10);
	/* nothing is connected yet: both wait */
	assert_true(pool_run(pool, &work_step, 1, 5000, on_done, NULL));
	assert_true(pool_run(pool, &work_step, 1, 5000, on_done, NULL));
	assert_int_equal(pool_waiting(pool), 2);
	turn_until(&done, 2);
	assert_int_equal(succeeded, 2);
	assert_string_equal(last_value, "42");
	close_pool();
}

static void
test_too_many_are_refused(void **state)
{
	const FakeStep steps[] = {SETUP, WORK, {.kind = FAKE_END}};

	(void) state;
	open_pool(steps, 1, 1);
	assert_true(pool_run(pool, &work_step, 1, 5000, on_done, NULL));
	assert_false(pool_run(pool, &work_step, 1, 5000, on_done, NULL));
	turn_until(&done, 1);
	close_pool();
}

static void
test_deadline_passes_in_the_queue(void **state)
{
	const FakeStep steps[] = {{.kind = FAKE_END}};

	(void) state;
	open_pool(steps, 1, 10);
	/* refused at its first poll, and at every one after */
	fake_break();
	fake_refuse_connections(1000);
	assert_true(pool_run(pool, &work_step, 1, 50, on_done, NULL));
	turn_until(&overdue, 1);
	close_pool();
}

static void
test_silent_server_costs_the_connection(void **state)
{
	const FakeStep steps[] = {
		SETUP, {"SELECT work", "x", FAKE_SILENT, 0, NULL, NULL, NULL}, SETUP, WORK,
		{.kind = FAKE_END}
	};

	(void) state;
	open_pool(steps, 1, 10);
	assert_true(pool_run(pool, &work_step, 1, 50, on_done, NULL));
	turn_until(&lost, 1);
	assert_true(pool_run(pool, &work_step, 1, 5000, on_done, NULL));
	turn_until(&succeeded, 1);
	assert_int_equal(fake_connections(), 2);
	close_pool();
}

static void
test_failing_setup_is_tried_again(void **state)
{
	const FakeStep steps[] = {
		{"SELECT setup", "", FAKE_ERROR, 0, NULL, "57P03", "starting up"}, SETUP, WORK,
		{.kind = FAKE_END}
	};

	(void) state;
	open_pool(steps, 1, 10);
	assert_true(pool_run(pool, &work_step, 1, 5000, on_done, NULL));
	turn_until(&succeeded, 1);
	assert_int_equal(fake_connections(), 2);
	close_pool();
}

static void
test_renewed_is_another_connection(void **state)
{
	const FakeStep steps[] = {SETUP, WORK, SETUP, WORK, {.kind = FAKE_END}};

	(void) state;
	open_pool(steps, 1, 10);
	assert_true(pool_run(pool, &work_step, 1, 5000, on_done, NULL));
	/* one that is busy is left alone */
	pool_renew(pool);
	turn_until(&done, 1);
	assert_int_equal(fake_connections(), 1);
	pool_renew(pool);
	assert_true(pool_run(pool, &work_step, 1, 5000, on_done, NULL));
	turn_until(&succeeded, 2);
	assert_int_equal(fake_connections(), 2);
	close_pool();
}

/* The settings go ahead of each transaction, not into one that is open, and nothing else does. */
static void
test_pooler_gets_settings_with_each_transaction(void **state)
{
	const PgStep begin[] = {{&api_begin, NULL}, work_step};
	const PgStep end[] = {work_step, {&api_commit, NULL}};
	const FakeStep steps[] = {
		SETTINGS, WORK, SETTINGS, FAKE_OK("BEGIN", ""), WORK, WORK, FAKE_OK("COMMIT", ""),
		{"SELECT settings", "", FAKE_ERROR, 0, NULL, "57P01", "going down"}, SETTINGS, WORK,
		{.kind = FAKE_END}
	};

	(void) state;
	open_pool(steps, 1, 10);
	fake_pool();
	assert_true(pool_run(pool, &work_step, 1, 5000, on_done, NULL));
	assert_true(pool_run(pool, begin, 2, 5000, on_done, NULL));
	assert_true(pool_run(pool, end, 2, 5000, on_done, NULL));
	assert_true(pool_run(pool, &work_step, 1, 5000, on_done, NULL));
	assert_true(pool_run(pool, &work_step, 1, 5000, on_done, NULL));
	turn_until(&done, 5);
	assert_int_equal(succeeded, 4);
	close_pool();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_work_waits_for_the_connection),
		cmocka_unit_test(test_too_many_are_refused),
		cmocka_unit_test(test_deadline_passes_in_the_queue),
		cmocka_unit_test(test_silent_server_costs_the_connection),
		cmocka_unit_test(test_failing_setup_is_tried_again),
		cmocka_unit_test(test_renewed_is_another_connection),
		cmocka_unit_test(test_pooler_gets_settings_with_each_transaction),
	};

	log_open("test", "Fatal", NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
