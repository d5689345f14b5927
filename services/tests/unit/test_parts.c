/*
 * test_parts.c
 *		The parts of the library that talk to nobody: contexts, options, breaker,
 *		back-off, routes, problems, metrics, mail, webhook signatures.
 */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/config.h"
#include "lib/context.h"
#include "lib/http.h"
#include "lib/identity.h"
#include "lib/metrics.h"
#include "lib/problem.h"
#include "lib/resilience.h"
#include "lib/route.h"
#include "lib/text.h"
#include "notification/mail.h"
#include "payment/webhook.h"

/* as "openssl dgst -sha256 -hmac whsec_test" has it for 1700000000.{"id":1} */
#define WEBHOOK_SIGNATURE \
	"t=1700000000,v1=2f441ba4b3b2d50d28a9ab9d9fd8880376ecd1eb5d0435401553f5d8d0a5dcf8"

static void
test_traceparent_is_taken_and_passed_on(void **state)
{
	Context		context;
	Context		child;
	char		header[56];

	(void) state;
	context_start(&context, "7F3C0000-0000-4000-8000-000000000001",
				  "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00");
	assert_string_equal(context.correlation_id, "7F3C0000-0000-4000-8000-000000000001");
	assert_string_equal(context.trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
	assert_string_equal(context.parent_span_id, "00f067aa0ba902b7");
	assert_false(context.sampled);
	context_child(&child, &context);
	assert_string_equal(child.parent_span_id, context.span_id);
	assert_string_not_equal(child.span_id, context.span_id);
	context_traceparent(&child, header);
	assert_memory_equal(header, "00-4bf92f3577b34da6a3ce929d0e0e4736-", 36);
	assert_string_equal(header + 52, "-00");
}

static void
test_bad_context_is_replaced(void **state)
{
	static const char *const bad[] = {
		"", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
		"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more"
	};

	(void) state;
	for (size_t i = 0; i < lengthof(bad); i++)
	{
		Context		context;

		context_start(&context, "not a uuid", bad[i]);
		assert_true(uuid_valid(context.correlation_id));
		assert_string_equal(context.parent_span_id, "");
		assert_int_equal(strlen(context.trace_id), TRACE_ID_LENGTH);
		assert_true(context.sampled);
	}
}

static void
test_json_text_is_escaped(void **state)
{
	Text		text = {0};

	(void) state;
	text_json(&text, "a\"b\\c\nd\x01"
					 "e\xc3\xa9");
	assert_string_equal(text.data, "\"a\\\"b\\\\c\\nd\\u0001e\xc3\xa9\"");
	text_reset(&text);
	text_json(&text, NULL);
	assert_string_equal(text.data, "null");
	text_free(&text);
}

static void
test_durations(void **state)
{
	long		ms;

	(void) state;
	assert_true(config_parse_duration("250ms", &ms) && ms == 250);
	assert_true(config_parse_duration("30s", &ms) && ms == 30000);
	assert_true(config_parse_duration("5 min", &ms) && ms == 300000);
	assert_true(config_parse_duration("24h", &ms) && ms == 86400000);
	assert_false(config_parse_duration("30x", &ms));
	assert_false(config_parse_duration("-1s", &ms));
	assert_false(config_parse_duration("", &ms));
	assert_false(config_parse_duration("9999999999999999h", &ms));
}

static void
test_options_flag_over_environment_over_file(void **state)
{
	char	   *name;
	long		size;
	long		wait;
	bool		loud;
	Option		options[] = {
		{"name", OPTION_STRING, &name, "nobody", 0, 0, NULL, false, false, ""},
		{"pool-size", OPTION_INTEGER, &size, "4", 1, 9, NULL, false, false, ""},
		{"wait", OPTION_DURATION, &wait, "1s", 0, 0, NULL, true, false, ""},
		{"loud", OPTION_BOOLEAN, &loud, "off", 0, 0, NULL, false, false, ""},
		{NULL}
	};
	const OptionGroup groups[] = {{"Test", options}};
	char		path[] = "/tmp/test_parts.XXXXXX";
	FILE	   *file = fdopen(mkstemp(path), "w");
	char	   *arguments[] = {"testd", "--config", path, "--pool-size=7", "--loud"};

	(void) state;
	fputs("# comment\nname = file\npool-size = 2\nwait = 3s\n", file);
	fclose(file);
	setenv("TESTD_POOL_SIZE", "5", 1);
	setenv("ECOMMERCE_NAME", "environment", 1);
	assert_int_equal(config_load("testd", "1.0", groups, 1, 5, arguments), CONFIG_RUN);
	assert_string_equal(name, "environment");
	assert_int_equal(size, 7);
	assert_int_equal(wait, 3000);
	assert_true(loud);

	file = fopen(path, "w");
	fputs("wait = 4s\nname = other\n", file);
	fclose(file);
	assert_true(config_reload());
	assert_int_equal(wait, 4000);
	assert_string_equal(name, "environment");
	unlink(path);
	config_free();
}

static void
test_bad_options_are_refused(void **state)
{
	long		size;
	Option		options[] = {
		{"pool-size", OPTION_INTEGER, &size, "4", 1, 9, NULL, false, false, ""}, {NULL}
	};
	const OptionGroup groups[] = {{"Test", options}};
	char	   *bad[] = {"--pool-size=10", "--pool-size=x", "--size=1", "word", "--pool-size"};

	(void) state;
	unsetenv("TESTD_POOL_SIZE");
	for (size_t i = 0; i < lengthof(bad); i++)
	{
		char	   *arguments[] = {"testd", bad[i]};

		assert_int_equal(config_load("testd", "1.0", groups, 1, 2, arguments), CONFIG_INVALID);
		config_free();
	}
}

static void
test_backoff_doubles_up_to_its_limit(void **state)
{
	long		longest = (long) backoff_delay(3, 100, 15000, 0.999);

	(void) state;
	assert_int_equal(backoff_delay(0, 100, 15000, 0), 50);
	assert_int_equal(backoff_delay(3, 100, 15000, 0), 400);
	assert_int_equal(backoff_delay(1000, 100, 15000, 0), 7500);
	assert_true(longest == 799 || longest == 800);
}

static void
test_breaker_trips_probes_and_closes(void **state)
{
	Breaker		breaker;
	uint64_t	now = 1000;

	(void) state;
	breaker_init(&breaker, (BreakerPolicy) {60000, 15, 10, 30000});
	/* ten attempts are never enough, however they end */
	for (int i = 0; i < 10; i++)
	{
		assert_true(breaker_allows(&breaker, now));
		breaker_record(&breaker, (uint64_t) i + 1, i != 0, now);
	}
	assert_int_equal(breaker.state, BREAKER_CLOSED);
	breaker_record(&breaker, 100, false, now);	/* 2 of 11: 18 per cent */
	assert_int_equal(breaker.state, BREAKER_OPEN);
	assert_false(breaker_allows(&breaker, now + 29999));
	now += 30000;
	assert_true(breaker_allows(&breaker, now));
	assert_false(breaker_allows(&breaker, now));	/* one probe at a time */
	breaker_record(&breaker, 101, false, now);
	assert_int_equal(breaker.state, BREAKER_OPEN);
	now += 30000;
	for (int i = 0; i < 10; i++)
	{
		assert_true(breaker_allows(&breaker, now));
		breaker_record(&breaker, (uint64_t) i + 200, true, now);
	}
	assert_int_equal(breaker.state, BREAKER_CLOSED);
}

static void
test_breaker_window_tumbles(void **state)
{
	Breaker		breaker;

	(void) state;
	breaker_init(&breaker, (BreakerPolicy) {60000, 15, 10, 30000});
	for (int i = 0; i < 10; i++)
		breaker_record(&breaker, (uint64_t) i + 1, false, 1000);
	breaker_record(&breaker, 1, false, 61000);
	assert_int_equal(breaker.state, BREAKER_CLOSED);
	assert_int_equal(breaker.attempts, 1);
}

/* What fails however often it is tried is one failure, and none once it has gone through. */
static void
test_breaker_counts_subjects(void **state)
{
	Breaker		breaker;

	(void) state;
	breaker_init(&breaker, (BreakerPolicy) {60000, 15, 10, 30000});
	for (int i = 0; i < 100; i++)
		breaker_record(&breaker, 1, false, 1000);
	for (int i = 0; i < 10; i++)
		breaker_record(&breaker, (uint64_t) i + 10, true, 1000);
	assert_int_equal(breaker.state, BREAKER_CLOSED);
	assert_int_equal(breaker.attempts, 11);
	assert_int_equal(breaker.failures, 1);
	breaker_record(&breaker, 1, true, 1000);
	assert_int_equal(breaker.failures, 0);
	assert_int_equal(breaker_room(&breaker, 1000), INT_MAX);
	breaker_record(&breaker, 1, false, 1000);
	breaker_record(&breaker, 2, false, 1000);
	assert_int_equal(breaker.state, BREAKER_OPEN);
	assert_int_equal(breaker_room(&breaker, 30999), 0);
	assert_int_equal(breaker_room(&breaker, 31000), 1);
	assert_true(breaker_allows(&breaker, 31000));
	assert_int_equal(breaker_room(&breaker, 31000), 0);
}

static void
test_routes(void **state)
{
	char	   *id;

	(void) state;
	assert_true(route_matches("/orders", "/orders"));
	assert_false(route_matches("/orders", "/orders/"));
	assert_true(route_matches("/orders/:id", "/orders/7"));
	assert_false(route_matches("/orders/:id", "/orders/"));
	assert_false(route_matches("/orders/:id", "/orders/7/events"));
	assert_true(route_matches("/orders/:id/events", "/orders/7/events"));
	assert_false(route_matches("/orders/:id/events", "/orders/7/event"));
	id = route_argument("/orders/:id/events", "/orders/a%2Fb/events", "id", 2);
	assert_string_equal(id, "a/b");
	free(id);
}

static void
test_problem_document(void **state)
{
	Text		body = {0};

	(void) state;
	problem_write(&body, 422, "bad \"field\"", "[{\"field\":\"a\"}]", "/x", NULL);
	assert_string_equal(body.data, "{\"type\":\"about:blank\",\"title\":\"Unprocessable content\","
						"\"status\":422,\"detail\":\"bad \\\"field\\\"\",\"instance\":\"/x\","
						"\"errors\":[{\"field\":\"a\"}]}");
	text_free(&body);
	assert_int_equal(problem_of(NULL).status, 503);
}

static void
test_metrics_exposition(void **state)
{
	Text		out = {0};

	(void) state;
	metrics_count(&metric_messages, 2, "ReserveInventory", "done");
	metrics_observe(&metric_http_duration, 0.004, "/orders");
	metrics_observe(&metric_http_duration, 60, "/orders");
	metrics_write(&out);
	assert_non_null(strstr(out.data,
						   "messages_total{type=\"ReserveInventory\",outcome=\"done\"} 2\n"));
	assert_non_null(strstr(out.data, "_bucket{route=\"/orders\",le=\"0.0025\"} 0\n"));
	assert_non_null(strstr(out.data, "_bucket{route=\"/orders\",le=\"0.005\"} 1\n"));
	assert_non_null(strstr(out.data, "_bucket{route=\"/orders\",le=\"30\"} 1\n"));
	assert_non_null(strstr(out.data, "_bucket{route=\"/orders\",le=\"+Inf\"} 2\n"));
	assert_non_null(strstr(out.data, "_count{route=\"/orders\"} 2\n"));
	text_free(&out);
	metrics_clear();
}

static void
test_mail_cannot_be_injected(void **state)
{
	Text		out = {0};
	Mail		mail = {"shop@example.com", "c@example.com",
	"Hello\r\nBcc: all@example.com \xc3\xa9", "<p>.\r\n.\r\n</p>", "id@example.com", 0};

	(void) state;
	mail_write(&out, &mail);
	assert_null(strstr(out.data, "Bcc"));
	assert_null(strstr(out.data, "\r\n.\r\n"));
	assert_non_null(strstr(out.data, "Date: Thu, 01 Jan 1970 00:00:00 +0000\r\n"));
	assert_non_null(strstr(out.data,
						   "Subject: =?utf-8?B?SGVsbG8NCkJjYzogYWxsQGV4YW1wbGUuY29tIMOp?=\r\n"));
	assert_non_null(strstr(out.data, "\r\n\r\nPHA+Lg0KLg0KPC9wPg==\r\n"));
	text_free(&out);
	assert_true(mail_address_valid("a.b@example.com"));
	assert_false(mail_address_valid("a@b@c"));
	assert_false(mail_address_valid("a b@c"));
	assert_false(mail_address_valid("a@b\r\nRCPT TO:<x@y>"));
	assert_false(mail_address_valid("@b"));
}

static void
test_webhook_signatures(void **state)
{
	const char *body = "{\"id\":1}";
	char		two[300];

	(void) state;
	snprintf(two, sizeof(two), "t=1700000000,v1=%064d,%s", 0, strstr(WEBHOOK_SIGNATURE, "v1="));
	assert_true(webhook_signature_valid(WEBHOOK_SIGNATURE, body, 8, "whsec_test", 1700000100));
	assert_true(webhook_signature_valid(two, body, 8, "whsec_test", 1700000100));
	assert_false(webhook_signature_valid(WEBHOOK_SIGNATURE, body, 8, "other", 1700000100));
	assert_false(webhook_signature_valid(WEBHOOK_SIGNATURE, "{\"id\":2}", 8, "whsec_test",
										 1700000100));
	assert_false(webhook_signature_valid(WEBHOOK_SIGNATURE, body, 8, "whsec_test", 1700000301));
	assert_false(webhook_signature_valid("", body, 8, "whsec_test", 1700000100));
	assert_false(webhook_signature_valid("t=,v1=", body, 8, "whsec_test", 1700000100));
}

static void
test_text_is_utf8(void **state)
{
	static const struct
	{
		const char *text;
		size_t		length;
	}			characters[] = {
		{"a", 1},
		{"\xc3\xbc", 2},
		{"\xe2\x82\xac", 3},
		{"\xf0\x9f\x98\x80", 4},
		{"\xf4\x8f\xbf\xbf", 4},
		{"\x80", 0},
		{"\xc0\xaf", 0},
		{"\xc1\xbf", 0},
		{"\xc3", 0},
		{"\xc3(", 0},
		{"\xe0\x80\x80", 0},
		{"\xed\xa0\x80", 0},
		{"\xe2\x82", 0},
		{"\xf0\x80\x80\x80", 0},
		{"\xf4\x90\x80\x80", 0},
		{"\xf5\x80\x80\x80", 0},
		{"\xff", 0},
	};
	Text		json = {0};
	char		short_copy[4];
	char		broken[] = "a\xff\xc3\xbc\xc3";

	(void) state;
	for (size_t i = 0; i < lengthof(characters); i++)
		assert_int_equal(utf8_length(characters[i].text), characters[i].length);
	text_json(&json, "\xc3\xbc\xff\"\\\n\x01\xe2\x82");
	assert_string_equal(json.data, "\"\xc3\xbc\\ufffd\\\"\\\\\\n\\u0001\\ufffd\\ufffd\"");
	text_free(&json);
	copy_string(short_copy, sizeof(short_copy), "ab\xc3\xbc");
	assert_string_equal(short_copy, "ab");
	utf8_repair(broken);
	assert_string_equal(broken, "a?\xc3\xbc?");
}

/* A route that says nobody, and one that does not tell its function which customer. */
static void
test_routes_say_who_may_use_them(void **state)
{
	static const HttpRoute bad[][2] = {
		{{"GET", "/x", "s.f", "query:a"}, {NULL}},
		{{"GET", "/x", "s.f", "query:a", ACCESS_OWN | ACCESS_OPERATOR}, {NULL}},
		{{"GET", "/x", "s.f", "query:a caller", ACCESS_OPERATOR}, {NULL}}
	};

	(void) state;
	for (size_t i = 0; i < lengthof(bad); i++)
		assert_null(http_start(&(HttpOptions) {.routes = bad[i]}));
}

/* What a request says about itself counts only beside the secret, and only if it is known. */
static void
test_identity_fails_closed(void **state)
{
	static const struct
	{
		const char *secret;
		const char *scope;
		const char *customer;
		int			access;
	}			cases[] = {
		{"s", "operator", NULL, ACCESS_PUBLIC | ACCESS_GATEWAY | ACCESS_OPERATOR},
		{"s", "warehouse", NULL, ACCESS_PUBLIC | ACCESS_GATEWAY | ACCESS_WAREHOUSE},
		{"s", "customer", "7f3c0000-0000-4000-8000-000000000001",
		 ACCESS_PUBLIC | ACCESS_GATEWAY | ACCESS_OWN | ACCESS_CUSTOMER},
		{"s", "customer", "7f3c0000", ACCESS_PUBLIC | ACCESS_GATEWAY},
		{"s", "customer", NULL, ACCESS_PUBLIC | ACCESS_GATEWAY},
		{"s", "Operator", NULL, ACCESS_PUBLIC | ACCESS_GATEWAY},
		{"s", NULL, NULL, ACCESS_PUBLIC | ACCESS_GATEWAY},
		{"S", "operator", NULL, ACCESS_PUBLIC},
		{"ss", "operator", NULL, ACCESS_PUBLIC},
		{"", "operator", NULL, ACCESS_PUBLIC},
		{NULL, "operator", NULL, ACCESS_PUBLIC}};

	(void) state;
	for (size_t i = 0; i < lengthof(cases); i++)
	{
		struct evkeyvalq headers = {NULL, &headers.tqh_first};
		Identity	identity;
		Context		context = {0};

		evhttp_add_header(&headers, "X-User-Id", "u");
		if (cases[i].secret)
			evhttp_add_header(&headers, "X-Gateway-Secret", cases[i].secret);
		if (cases[i].scope)
			evhttp_add_header(&headers, "X-Scope", cases[i].scope);
		if (cases[i].customer)
			evhttp_add_header(&headers, "X-Customer-Id", cases[i].customer);
		identity_take(&identity, &context, &headers, "s");
		assert_int_equal(identity.access, cases[i].access);
		assert_string_equal(context.user_id, identity.access & ACCESS_GATEWAY ? "u" : "");
		/* a secret that is not set is nobody's */
		identity_take(&identity, &context, &headers, "");
		assert_int_equal(identity.access, ACCESS_PUBLIC);
		evhttp_clear_headers(&headers);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text_is_utf8),
		cmocka_unit_test(test_traceparent_is_taken_and_passed_on),
		cmocka_unit_test(test_bad_context_is_replaced),
		cmocka_unit_test(test_json_text_is_escaped),
		cmocka_unit_test(test_durations),
		cmocka_unit_test(test_options_flag_over_environment_over_file),
		cmocka_unit_test(test_bad_options_are_refused),
		cmocka_unit_test(test_backoff_doubles_up_to_its_limit),
		cmocka_unit_test(test_breaker_trips_probes_and_closes),
		cmocka_unit_test(test_breaker_window_tumbles),
		cmocka_unit_test(test_breaker_counts_subjects),
		cmocka_unit_test(test_routes),
		cmocka_unit_test(test_problem_document),
		cmocka_unit_test(test_metrics_exposition),
		cmocka_unit_test(test_mail_cannot_be_injected),
		cmocka_unit_test(test_webhook_signatures),
		cmocka_unit_test(test_routes_say_who_may_use_them),
		cmocka_unit_test(test_identity_fails_closed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
