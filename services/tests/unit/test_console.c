/*
 * test_console.c
 *		Files that a program carries, streams to many clients, values over time, wrong
 *		passwords.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <event2/buffer.h>

#include "console/guard.h"
#include "console/series.h"
#include "lib/log.h"
#include "lib/metrics.h"
#include "lib/static.h"
#include "lib/stream.h"

#define SECOND 1800000000ul

static const StaticFile files[] = {
	{"a.js", "text/javascript", "0123456789abcdef", (const unsigned char *) "plain", 5,
	(const unsigned char *) "packed", 6},
	{NULL}
};

static struct
{
	struct event_base *base;
	Channel    *channel;
	Stream	   *stream;
	Text		received;
	int			owner;
	bool		ended;
} fixture;

static void
serve_stream(HttpCall *call)
{
	fixture.stream = stream_begin(fixture.channel, call, &fixture.owner);
}

static void
serve_file(HttpCall *call)
{
	static_reply(call, files);
}

static const HttpRoute routes[] = {
	{"GET", "/stream", NULL, NULL, ACCESS_PUBLIC, serve_stream},
	{"GET", "/a.js", NULL, NULL, ACCESS_PUBLIC, serve_file},
	{NULL}
};
static const HttpHeader headers[] = {{"X-Content-Type-Options", "nosniff"}, {NULL}};

static void
take_chunk(struct evhttp_request *request, void *argument)
{
	struct evbuffer *buffer = evhttp_request_get_input_buffer(request);
	size_t		length = evbuffer_get_length(buffer);

	(void) argument;
	text_add_n(&fixture.received, (const char *) evbuffer_pullup(buffer, -1), length);
	evbuffer_drain(buffer, length);
}

static void
take_end(struct evhttp_request *request, void *argument)
{
	int		   *status = argument;

	fixture.ended = true;
	if (request && status)
	{
		struct evkeyvalq *input = evhttp_request_get_input_headers(request);

		*status = evhttp_request_get_response_code(request);
		text_format(&fixture.received, "|%s|%s", evhttp_find_header(input, "ETag"),
					evhttp_find_header(input, "X-Content-Type-Options"));
	}
}

/* Any port will do. */
static HttpServer *
serve(int *port)
{
	HttpServer *server = NULL;

	for (*port = 20000 + getpid() % 20000; server == NULL; (*port)++)
		server = http_start(&(HttpOptions) {
			.base = fixture.base, .address = "127.0.0.1", .port = *port, .routes = routes,
			.max_body = 1000, .timeout_ms = 5000, .gateway_secret = "", .headers = headers
		});
	(*port)--;
	return server;
}

/* Turns the loop until the condition holds. */
#define UNTIL(condition) \
	do \
	{ \
		uint64_t	deadline = clock_steady_ms() + 60000; \
		while (!(condition)) \
		{ \
			assert_true(clock_steady_ms() < deadline); \
			event_base_loop(fixture.base, EVLOOP_ONCE); \
		} \
	} while (0)

static struct evhttp_connection *
ask(int port, const char *path, const char *header, const char *value, int *status)
{
	struct evhttp_connection *connection = evhttp_connection_base_new(fixture.base, NULL,
																	  "127.0.0.1",
																	  (ev_uint16_t) port);
	struct evhttp_request *request = evhttp_request_new(take_end, status);

	evhttp_request_set_chunked_cb(request, take_chunk);
	evhttp_add_header(evhttp_request_get_output_headers(request), "Host", "localhost");
	if (header)
		evhttp_add_header(evhttp_request_get_output_headers(request), header, value);
	evhttp_make_request(connection, request, EVHTTP_REQ_GET, path);
	return connection;
}

static void
streams_reach_all(void **state)
{
	int			port;
	HttpServer *server;
	struct evhttp_connection *one;
	struct evhttp_connection *two;

	(void) state;
	fixture.base = event_base_new();
	fixture.channel = channel_open(fixture.base, 100000);
	server = serve(&port);
	one = ask(port, "/stream", NULL, NULL, NULL);
	two = ask(port, "/stream", NULL, NULL, NULL);
	UNTIL(channel_count(fixture.channel) == 2);
	assert_int_equal(http_pending(server), 0);	/* a stream does not hold up the end */
	channel_send(fixture.channel, "sample", "{\"a\":1}");
	UNTIL(fixture.received.length == 2 * strlen("event: sample\ndata: {\"a\":1}\n\n"));
	text_reset(&fixture.received);
	stream_send(fixture.stream, NULL, "one\ntwo");
	UNTIL(strcmp(text_value(&fixture.received), "data: one\ndata: two\n\n") == 0);

	/* whoever goes is forgotten, and the others stay */
	evhttp_connection_free(one);
	UNTIL(channel_count(fixture.channel) == 1);
	channel_drop(fixture.channel, &port);
	assert_int_equal(channel_count(fixture.channel), 1);
	channel_drop(fixture.channel, &fixture.owner);
	assert_int_equal(channel_count(fixture.channel), 0);
	UNTIL(fixture.ended);
	evhttp_connection_free(two);
	http_stop(server);
	channel_close(fixture.channel);
	event_base_free(fixture.base);
	text_free(&fixture.received);
	metrics_clear();
}

/* A client that reads nothing does not fill our memory. */
static void
slow_clients_are_cut_off(void **state)
{
	int			port;
	HttpServer *server;
	struct evhttp_connection *one;
	Text		much = {0};

	(void) state;
	fixture.base = event_base_new();
	fixture.channel = channel_open(fixture.base, 100000);
	server = serve(&port);
	one = ask(port, "/stream", NULL, NULL, NULL);
	UNTIL(channel_count(fixture.channel) == 1);
	for (int i = 0; i < 60000; i++)
		text_add(&much, "x");
	/* the loop does not turn, so nothing leaves the buffer */
	channel_send(fixture.channel, NULL, much.data);
	channel_send(fixture.channel, NULL, much.data);
	assert_int_equal(channel_count(fixture.channel), 1);
	channel_send(fixture.channel, NULL, much.data);
	assert_int_equal(channel_count(fixture.channel), 0);
	evhttp_connection_free(one);
	http_stop(server);
	channel_close(fixture.channel);
	event_base_free(fixture.base);
	text_free(&much);
	text_free(&fixture.received);
	metrics_clear();
}

static void
files_are_served(void **state)
{
	static const struct
	{
		const char *header;
		const char *value;
		int			status;
		const char *received;
	}			cases[] = {
		{NULL, NULL, 200, "plain|\"0123456789abcdef\"|nosniff"},
		{"Accept-Encoding", "br, gzip", 200, "packed|\"0123456789abcdef-gz\"|nosniff"},
		{"If-None-Match", "\"0123456789abcdef\"", 304, "|\"0123456789abcdef\"|nosniff"},
		{"If-None-Match", "\"0123456789abcdef-gz\"", 200, "plain|\"0123456789abcdef\"|nosniff"},
	};
	int			port;
	HttpServer *server;

	(void) state;
	fixture.base = event_base_new();
	server = serve(&port);
	for (size_t i = 0; i < lengthof(cases); i++)
	{
		int			status = 0;
		struct evhttp_connection *connection;

		fixture.ended = false;
		text_reset(&fixture.received);
		connection = ask(port, "/a.js", cases[i].header, cases[i].value, &status);
		UNTIL(fixture.ended);
		assert_int_equal(status, cases[i].status);
		assert_string_equal(text_value(&fixture.received), cases[i].received);
		evhttp_connection_free(connection);
	}
	http_stop(server);
	event_base_free(fixture.base);
	text_free(&fixture.received);
	metrics_clear();
}

static void
files_are_found(void **state)
{
	(void) state;
	assert_ptr_equal(static_find(files, "a.js"), files);
	assert_null(static_find(files, "a"));
	assert_null(static_find(files, "../a.js"));
}

static void
codings_are_understood(void **state)
{
	(void) state;
	assert_true(static_accepts_gzip("gzip"));
	assert_true(static_accepts_gzip("deflate, GZIP;q=0.5"));
	assert_true(static_accepts_gzip("br;q=0, gzip, *;q=0"));
	assert_false(static_accepts_gzip("gzip;q=0"));
	assert_false(static_accepts_gzip("gzip;q=0.0, br"));
	assert_false(static_accepts_gzip("gzipped"));
	assert_false(static_accepts_gzip(""));
	assert_false(static_accepts_gzip(NULL));
}

static void
expect_series(const char *range, const char *prefix, uint64_t second, const char *expected)
{
	Text		text = {0};

	assert_true(series_write(&text, range, prefix, second));
	assert_string_equal(text.data, expected);
	text_free(&text);
}

static void
values_over_time(void **state)
{
	Text		text = {0};

	(void) state;
	series_put("a_total{x=\"1\"}", SECOND, 1000000);
	series_put("a_total{x=\"1\"}", SECOND + 1, 1000001);
	series_put("a_total{x=\"1\"}", SECOND + 3, 1000003);
	series_put("b", SECOND + 3, 0.5);
	expect_series("10m", "a", SECOND + 3, "{\"step\":1,\"end\":1800000003,\"series\":"
				  "{\"a_total{x=\\\"1\\\"}\":[1000000,1000001,null,1000003]}}");
	expect_series("10m", "", SECOND + 4, "{\"step\":1,\"end\":1800000004,\"series\":"
				  "{\"a_total{x=\\\"1\\\"}\":[1000000,1000001,null,1000003,null],\"b\":[0.5,null]}}");
	expect_series("2h", "b", SECOND + 13, "{\"step\":10,\"end\":1800000010,\"series\":"
				  "{\"b\":[0.5,null]}}");
	/* a ring forgets what is older than it is long, also what stands in a place of its */
	series_put("b", SECOND + 603, 2);
	expect_series("10m", "b", SECOND + 603, "{\"step\":1,\"end\":1800000603,\"series\":"
				  "{\"b\":[2]}}");
	expect_series("24h", "b", SECOND + 603, "{\"step\":60,\"end\":1800000600,\"series\":{\"b\":"
				  "[0.5,null,null,null,null,null,null,null,null,null,2]}}");
	assert_false(series_write(&text, "1h", "", SECOND));
	text_free(&text);
	series_clear();
	assert_int_equal(series_count(), 0);
}

/* What labels say is up to others, so there is a limit. */
static void
series_are_limited(void **state)
{
	(void) state;
	for (int i = 0; i < 1000; i++)
	{
		char		key[32];

		snprintf(key, sizeof(key), "s%d", i);
		series_put(key, SECOND, i);
	}
	assert_int_equal(series_count(), 500);
	series_clear();
}

/* Waits grow, for the role and address that they are of alone. */
static void
wrong_passwords_slow_down(void **state)
{
	const long	waits[] = {0, 0, 1000, 2000, 4000, 8000, 16000, 30000, 30000};
	uint64_t	now = 5000000;

	(void) state;
	for (size_t i = 0; i < lengthof(waits); i++)
	{
		assert_int_equal(guard_wait("anna", "10.0.0.1", now), 0);
		guard_begin("anna", "10.0.0.1", now);
		assert_int_equal(guard_wait("anna", "10.0.0.1", now), waits[i]);
		assert_int_equal(guard_wait("anna", "10.0.0.2", now), 0);
		assert_int_equal(guard_wait("otto", "10.0.0.1", now), 0);
		if (waits[i] > 0)
			assert_int_equal(guard_wait("anna", "10.0.0.1", now + (uint64_t) waits[i] - 1), 1);
		now += (uint64_t) waits[i];
	}
	assert_int_equal(guard_wait("anna", "10.0.0.1", now - 30000 + 900000), 0);
	guard_begin("anna", "10.0.0.1", now + 900000);
	assert_int_equal(guard_wait("anna", "10.0.0.1", now + 900000), 0);
	guard_clear();
}

static void
right_passwords_forgive(void **state)
{
	(void) state;
	for (int i = 0; i < 3; i++)
		guard_begin("anna", "10.0.0.1", 5000000);
	guard_take_back("anna", "10.0.0.1");
	assert_int_equal(guard_wait("anna", "10.0.0.1", 5000000), 0);
	guard_begin("anna", "10.0.0.1", 5000000);
	assert_int_equal(guard_wait("anna", "10.0.0.1", 5000000), 1000);
	guard_succeeded("anna", "10.0.0.1");
	assert_int_equal(guard_wait("anna", "10.0.0.1", 5000000), 0);
	guard_clear();
}

/* Whoever tries many names does not fill the memory, and what is newest is not lost. */
static void
guards_are_limited(void **state)
{
	char		role[32];

	(void) state;
	for (int i = 0; i < 5000; i++)
	{
		snprintf(role, sizeof(role), "r%d", i);
		for (int n = 0; n < 3; n++)
			guard_begin(role, "10.0.0.1", 5000000 + (uint64_t) i);
	}
	assert_int_equal(guard_wait("r4999", "10.0.0.1", 5004999), 1000);
	assert_int_equal(guard_wait("r4000", "10.0.0.1", 5004000), 1000);
	assert_int_equal(guard_wait("r0", "10.0.0.1", 5000000), 0);
	guard_clear();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_are_found),
		cmocka_unit_test(codings_are_understood),
		cmocka_unit_test(files_are_served),
		cmocka_unit_test(streams_reach_all),
		cmocka_unit_test(slow_clients_are_cut_off),
		cmocka_unit_test(values_over_time),
		cmocka_unit_test(series_are_limited),
		cmocka_unit_test(wrong_passwords_slow_down),
		cmocka_unit_test(right_passwords_forgive),
		cmocka_unit_test(guards_are_limited),
	};

	log_open("test", "Error", "/dev/null");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
