/*
 * test_consumer.c
 *		The consumer loop against a scripted libpq: what it sends in which order,
 *		and what it does when a message or the connection fails.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/consumer.h"
#include "lib/log.h"
#include "lib/metrics.h"
#include "lib/text.h"
#include "tests/unit/fake_pq.h"

#define PATIENCE_MS 10000

static const MessageHandler handlers[] = {
	{"Good", "shop.good"}, {"Other", "shop.other"}, {NULL}
};

static int	commits;
static int	claims;				/* closing steps offered */
static bool offering;
static char claimed[16];		/* what the last committed one gave */
static int	lost_claims;
static bool pooled;

static void
on_committed(void *argument, const PgResults *results, int step)
{
	(void) argument;
	commits++;
	if (step >= 0)
		copy_string(claimed, sizeof(claimed), pg_value(results, step, 0, 0));
}

static const PgStep *
on_closing(void *argument)
{
	static const PgStatement claim = {"SELECT shop.claim()", 0};
	static const PgStep step = {&claim, NULL};

	(void) argument;
	claims += offering;
	return offering ? &step : NULL;
}

static void
on_rolled_back(void *argument)
{
	(void) argument;
	lost_claims++;
}

/* Opens a consumer, turns the loop until the script is done, drains, closes. */
static void
run_script(const FakeStep *steps, void (*when_waiting) (void))
{
	struct event_base *base = event_base_new();
	uint64_t	until = clock_steady_ms() + PATIENCE_MS;
	Consumer   *consumer;

	commits = claims = lost_claims = 0;
	claimed[0] = '\0';
	fake_script(steps);
	if (pooled)
		fake_pool();
	consumer = consumer_open(&(ConsumerOptions) {
		.base = base, .conninfo = "", .application = "test", .source = "Test",
		.endpoint = "things", .handlers = handlers, .batch = 3, .poll_ms = 20,
		.timeout_ms = 100, .closing = on_closing, .committed = on_committed,
		.rolled_back = on_rolled_back
	});
	while (!fake_finished() || !consumer_drained(consumer))
	{
		if (clock_steady_ms() > until)
			fail_msg("script stopped at step %d", fake_position());
		if (fake_finished())
			consumer_drain(consumer);
		else if (when_waiting && consumer_connected(consumer) && consumer_drained(consumer))
		{
			when_waiting();
			when_waiting = NULL;
		}
		event_base_loop(base, EVLOOP_ONCE);
	}
	consumer_close(consumer);
	event_base_free(base);
}

/* delivery, type, body, attempt, correlation, traceparent, user, tenant, age */
#define MESSAGE(id, type, body) id, type, body, "1", \
	"7f3c0000-0000-4000-8000-000000000001", NULL, NULL, NULL, "5"

#define SETUP \
	FAKE_OK("SELECT pg_catalog.set_config('statement_timeout', $1", "100|100|Test"), \
	FAKE_OK("SELECT pg_catalog.set_config('statement_timeout', least(", "things|100")

#define RECEIVED(rows) \
	FAKE_OK("BEGIN", ""), \
	{"SELECT delivery_id, message_type", "things|3", FAKE_ROWS, 9, rows, NULL, NULL}

#define HANDLED(id, function, body) \
	FAKE_OK("SAVEPOINT message", ""), \
	FAKE_OK("SELECT message_bus.handle(", id), \
	FAKE_OK("SELECT " function "(", body), \
	FAKE_OK("RELEASE SAVEPOINT message", "")

#define NOTHING_RECEIVED RECEIVED(no_rows), FAKE_OK("COMMIT", "")

/* In the server, until something is there or the poll interval is over. */
#define WOKEN FAKE_OK("CALL message_bus.wait(", "things|20 milliseconds")
#define WAITS \
	{ \
		"CALL message_bus.wait(", "things|20 milliseconds", FAKE_SILENT, 0, NULL, NULL, NULL \
	}

static const char *const no_rows[] = {FAKE_STOP};
static const char *const two_rows[] = {
	MESSAGE("11", "Good", "{\"a\": 1}"), MESSAGE("12", "Other", "{\"b\": 2}"), FAKE_STOP
};
static const char *const three_rows[] = {
	MESSAGE("21", "Good", "{}"), MESSAGE("22", "Good", "{\"bad\": 1}"),
	MESSAGE("23", "Other", "{}"),
	FAKE_STOP
};
static const char *const strange_rows[] = {
	MESSAGE("31", "Strange", "{}"), MESSAGE("32", "Good", "{}"), FAKE_STOP
};
static const char *const full_rows[] = {
	MESSAGE("51", "Good", "{}"), MESSAGE("52", "Good", "{}"), MESSAGE("53", "Good", "{}"),
	FAKE_STOP
};
static const char *const one_row[] = {MESSAGE("41", "Good", "{}"), FAKE_STOP};

static void
test_batch_commits_with_acks(void **state)
{
	const FakeStep steps[] = {
		SETUP, RECEIVED(two_rows),
		HANDLED("11", "shop.good", "{\"a\": 1}"), HANDLED("12", "shop.other", "{\"b\": 2}"),
		FAKE_OK("SELECT message_bus.ack(", "{11,12}"), FAKE_OK("COMMIT", ""), WAITS,
		{.kind = FAKE_END}
	};

	(void) state;
	run_script(steps, NULL);
	assert_int_equal(commits, 1);
}

/* Sent by the clock of another server, which a link has brought: a sum of delays only rises. */
static void
test_delay_is_never_negative(void **state)
{
	static const char *const early_row[] = {
		"61", "Good", "{}", "1", "7f3c0000-0000-4000-8000-000000000001", NULL, NULL, NULL, "-5000",
		FAKE_STOP
	};
	const FakeStep steps[] = {
		SETUP, RECEIVED(early_row), HANDLED("61", "shop.good", "{}"),
		FAKE_OK("SELECT message_bus.ack(", "{61}"), FAKE_OK("COMMIT", ""), WAITS,
		{.kind = FAKE_END}
	};
	Text		page = {0};

	(void) state;
	metrics_clear();
	run_script(steps, NULL);
	metrics_write(&page);
	assert_non_null(strstr(page.data, "message_delay_seconds_sum{endpoint=\"things\"} 0\n"));
	text_free(&page);
}

static void
test_failing_message_steps_aside(void **state)
{
	const FakeStep steps[] = {
		SETUP, RECEIVED(three_rows),
		HANDLED("21", "shop.good", "{}"),
		FAKE_OK("SAVEPOINT message", ""), FAKE_OK("SELECT message_bus.handle(", "22"),
		{"SELECT shop.good(", "{\"bad\": 1}", FAKE_ERROR, 0, NULL, "55000", "not now"},
		FAKE_OK("ROLLBACK TO SAVEPOINT message", ""), FAKE_OK("RELEASE SAVEPOINT message", ""),
		FAKE_OK("SELECT message_bus.fail(", "22|55000|not now|true"),
		HANDLED("23", "shop.other", "{}"),
		FAKE_OK("SELECT message_bus.ack(", "{21,23}"), FAKE_OK("COMMIT", ""),
		NOTHING_RECEIVED, WAITS, {.kind = FAKE_END}
	};

	(void) state;
	run_script(steps, NULL);
	assert_int_equal(commits, 1);
}

static const char *const claim_row[] = {"work", FAKE_STOP};

#define CLAIMED \
	{ \
		"SELECT shop.claim()", "", FAKE_ROWS, 1, claim_row, NULL, NULL \
	}

/* Once, at the end, although a message failed in between. */
static void
test_work_is_claimed_in_the_batch(void **state)
{
	const FakeStep steps[] = {
		SETUP, RECEIVED(two_rows),
		FAKE_OK("SAVEPOINT message", ""), FAKE_OK("SELECT message_bus.handle(", "11"),
		{"SELECT shop.good(", NULL, FAKE_ERROR, 0, NULL, "22023", "no"},
		FAKE_OK("ROLLBACK TO SAVEPOINT message", ""), FAKE_OK("RELEASE SAVEPOINT message", ""),
		FAKE_OK("SELECT message_bus.fail(", "11|22023|no|false"),
		HANDLED("12", "shop.other", "{\"b\": 2}"), CLAIMED,
		FAKE_OK("SELECT message_bus.ack(", "{12}"), FAKE_OK("COMMIT", ""), WAITS,
		{.kind = FAKE_END}
	};

	(void) state;
	offering = true;
	run_script(steps, NULL);
	offering = false;
	assert_int_equal(commits, 1);
	assert_int_equal(claims, 1);
	assert_string_equal(claimed, "work");
	assert_int_equal(lost_claims, 0);
}

static void
test_claim_of_a_lost_batch_is_given_up(void **state)
{
	const FakeStep steps[] = {
		SETUP, RECEIVED(one_row), HANDLED("41", "shop.good", "{}"), CLAIMED,
		FAKE_OK("SELECT message_bus.ack(", "{41}"), {"COMMIT", "", FAKE_LOST},
		SETUP, NOTHING_RECEIVED, WAITS, {.kind = FAKE_END}
	};

	(void) state;
	offering = true;
	run_script(steps, NULL);
	offering = false;
	assert_int_equal(commits, 0);
	assert_int_equal(claims, 1);
	assert_int_equal(lost_claims, 1);
}

static void
test_data_error_is_not_retryable(void **state)
{
	const FakeStep steps[] = {
		SETUP, RECEIVED(one_row),
		FAKE_OK("SAVEPOINT message", ""), FAKE_OK("SELECT message_bus.handle(", "41"),
		{"SELECT shop.good(", "{}", FAKE_ERROR, 0, NULL, "22023", "never"},
		FAKE_OK("ROLLBACK TO SAVEPOINT message", ""), FAKE_OK("RELEASE SAVEPOINT message", ""),
		FAKE_OK("SELECT message_bus.fail(", "41|22023|never|false"), FAKE_OK("COMMIT", ""), WAITS,
		{.kind = FAKE_END}
	};

	(void) state;
	run_script(steps, NULL);
}

/* The message waits for who mends the handler: no attempt, longer each time. */
static void
test_error_of_the_program_is_not_the_messages(void **state)
{
	const FakeStep steps[] = {
		SETUP, RECEIVED(two_rows),
		FAKE_OK("SAVEPOINT message", ""), FAKE_OK("SELECT message_bus.handle(", "11"),
		{"SELECT shop.good(", NULL, FAKE_ERROR, 0, NULL, "42883", "no such function"},
		FAKE_OK("ROLLBACK TO SAVEPOINT message", ""), FAKE_OK("RELEASE SAVEPOINT message", ""),
		FAKE_OK("SELECT message_bus.snooze(", "11|995|no such function"),
		HANDLED("12", "shop.other", "{\"b\": 2}"),
		FAKE_OK("SELECT message_bus.ack(", "{12}"), FAKE_OK("COMMIT", ""),
		WOKEN, RECEIVED(one_row),
		FAKE_OK("SAVEPOINT message", ""), FAKE_OK("SELECT message_bus.handle(", "41"),
		{"SELECT shop.good(", "{}", FAKE_ERROR, 0, NULL, "42P01", "no such table"},
		FAKE_OK("ROLLBACK TO SAVEPOINT message", ""), FAKE_OK("RELEASE SAVEPOINT message", ""),
		FAKE_OK("SELECT message_bus.snooze(", "41|1990|no such table"), FAKE_OK("COMMIT", ""),
		WAITS, {.kind = FAKE_END}
	};

	(void) state;
	run_script(steps, NULL);
}

static void
test_timeout_has_its_code(void **state)
{
	const FakeStep steps[] = {
		SETUP, RECEIVED(one_row),
		FAKE_OK("SAVEPOINT message", ""), FAKE_OK("SELECT message_bus.handle(", "41"),
		{"SELECT shop.good(", "{}", FAKE_ERROR, 0, NULL, "57014", "canceling statement"},
		FAKE_OK("ROLLBACK TO SAVEPOINT message", ""), FAKE_OK("RELEASE SAVEPOINT message", ""),
		FAKE_OK("SELECT message_bus.fail(", "41|timeout|canceling statement|true"),
		FAKE_OK("COMMIT", ""), WAITS,
		{.kind = FAKE_END}
	};

	(void) state;
	run_script(steps, NULL);
}

static void
test_lost_race_is_tried_at_once_and_then_failed(void **state)
{
#define LOST_RACE \
	FAKE_OK("SAVEPOINT message", ""), FAKE_OK("SELECT message_bus.handle(", "41"), \
	{"SELECT shop.good(", "{}", FAKE_ERROR, 0, NULL, "ST001", "expected version 1"}, \
	FAKE_OK("ROLLBACK TO SAVEPOINT message", ""), FAKE_OK("RELEASE SAVEPOINT message", "")

	const FakeStep steps[] = {
		SETUP, RECEIVED(one_row), LOST_RACE, LOST_RACE, LOST_RACE,
		FAKE_OK("SELECT message_bus.fail(", "41|ST001|expected version 1|true"),
		FAKE_OK("COMMIT", ""),
		WOKEN, RECEIVED(one_row), LOST_RACE, HANDLED("41", "shop.good", "{}"),
		FAKE_OK("SELECT message_bus.ack(", "{41}"), FAKE_OK("COMMIT", ""), WAITS,
		{.kind = FAKE_END}
	};

	(void) state;
	run_script(steps, NULL);
}

static void
test_unknown_type_is_skipped(void **state)
{
	const FakeStep steps[] = {
		SETUP, RECEIVED(strange_rows),
		FAKE_OK("SELECT message_bus.skip(", "31|no handler for this message type"),
		HANDLED("32", "shop.good", "{}"),
		FAKE_OK("SELECT message_bus.ack(", "{32}"), FAKE_OK("COMMIT", ""), WAITS,
		{.kind = FAKE_END}
	};

	(void) state;
	run_script(steps, NULL);
}

static void
test_failing_ack_gives_the_batch_back(void **state)
{
	const FakeStep steps[] = {
		SETUP, RECEIVED(one_row), HANDLED("41", "shop.good", "{}"),
		{"SELECT message_bus.ack(", "{41}", FAKE_ERROR, 0, NULL, "MB003", "stale"},
		FAKE_OK("ROLLBACK", ""),
		NOTHING_RECEIVED, WAITS, {.kind = FAKE_END}
	};

	(void) state;
	run_script(steps, NULL);
	assert_int_equal(commits, 0);
}

static void
test_lost_connection_starts_over(void **state)
{
	const FakeStep steps[] = {
		SETUP, RECEIVED(one_row),
		FAKE_OK("SAVEPOINT message", ""), FAKE_OK("SELECT message_bus.handle(", "41"),
		{"SELECT shop.good(", "{}", FAKE_LOST, 0, NULL, NULL, NULL},
		SETUP, RECEIVED(one_row), HANDLED("41", "shop.good", "{}"),
		FAKE_OK("SELECT message_bus.ack(", "{41}"), FAKE_OK("COMMIT", ""), WAITS,
		{.kind = FAKE_END}
	};

	(void) state;
	run_script(steps, NULL);
	assert_int_equal(commits, 1);
	assert_int_equal(fake_connections(), 2);
}

static void
test_broken_idle_connection_starts_over(void **state)
{
	const FakeStep steps[] = {
		SETUP, NOTHING_RECEIVED, WAITS, SETUP, NOTHING_RECEIVED, WAITS, {.kind = FAKE_END}
	};

	(void) state;
	run_script(steps, fake_break);
	assert_int_equal(fake_connections(), 2);
}

static void
test_waits_in_the_server(void **state)
{
	const FakeStep steps[] = {
		SETUP, NOTHING_RECEIVED, WOKEN, RECEIVED(one_row), HANDLED("41", "shop.good", "{}"),
		FAKE_OK("SELECT message_bus.ack(", "{41}"), FAKE_OK("COMMIT", ""),
		WAITS, {.kind = FAKE_END}
	};

	(void) state;
	run_script(steps, NULL);
	assert_int_equal(commits, 1);
}

/* A full batch has left something: no reason to ask whether. */
static void
test_full_batch_is_followed_by_the_next(void **state)
{
	const FakeStep steps[] = {
		SETUP, RECEIVED(full_rows), HANDLED("51", "shop.good", "{}"),
		HANDLED("52", "shop.good", "{}"), HANDLED("53", "shop.good", "{}"),
		FAKE_OK("SELECT message_bus.ack(", "{51,52,53}"), FAKE_OK("COMMIT", ""),
		RECEIVED(one_row), HANDLED("41", "shop.good", "{}"),
		FAKE_OK("SELECT message_bus.ack(", "{41}"), FAKE_OK("COMMIT", ""),
		WAITS, {.kind = FAKE_END}
	};

	(void) state;
	run_script(steps, NULL);
	assert_int_equal(commits, 2);
}

/* Nor does it rely on being woken, or on being able to wait. */
static void
test_failing_wait_is_followed_by_a_look(void **state)
{
	const FakeStep steps[] = {
		SETUP, NOTHING_RECEIVED,
		{"CALL message_bus.wait(", NULL, FAKE_ERROR, 0, NULL, "57014", "canceling statement"},
		NOTHING_RECEIVED, WOKEN, NOTHING_RECEIVED, WAITS, {.kind = FAKE_END}
	};

	(void) state;
	run_script(steps, NULL);
}

/* A connection of a pooler, which others wait for, is given back at once. */
static void
test_polls_through_a_pooler(void **state)
{
	const FakeStep steps[] = {
		SETUP, NOTHING_RECEIVED, SETUP, RECEIVED(one_row), HANDLED("41", "shop.good", "{}"),
		FAKE_OK("SELECT message_bus.ack(", "{41}"), FAKE_OK("COMMIT", ""),
		SETUP, NOTHING_RECEIVED, {.kind = FAKE_END}
	};

	(void) state;
	pooled = true;
	run_script(steps, NULL);
	pooled = false;
	assert_int_equal(commits, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_batch_commits_with_acks),
		cmocka_unit_test(test_delay_is_never_negative),
		cmocka_unit_test(test_failing_message_steps_aside),
		cmocka_unit_test(test_work_is_claimed_in_the_batch),
		cmocka_unit_test(test_claim_of_a_lost_batch_is_given_up),
		cmocka_unit_test(test_data_error_is_not_retryable),
		cmocka_unit_test(test_error_of_the_program_is_not_the_messages),
		cmocka_unit_test(test_timeout_has_its_code),
		cmocka_unit_test(test_lost_race_is_tried_at_once_and_then_failed),
		cmocka_unit_test(test_unknown_type_is_skipped),
		cmocka_unit_test(test_failing_ack_gives_the_batch_back),
		cmocka_unit_test(test_lost_connection_starts_over),
		cmocka_unit_test(test_broken_idle_connection_starts_over),
		cmocka_unit_test(test_waits_in_the_server),
		cmocka_unit_test(test_full_batch_is_followed_by_the_next),
		cmocka_unit_test(test_failing_wait_is_followed_by_a_look),
		cmocka_unit_test(test_polls_through_a_pooler),
	};
	int			failed;

	log_open("test", "Fatal", NULL);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	metrics_clear();
	return failed;
}
