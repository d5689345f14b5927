/*
 * outcall.c
 *		Calls to the outside: libcurl's multi interface on the event loop.
 *
 * libcurl tells which sockets it waits for and when it wants to be woken; both
 * become events of the loop.  A request that failed before anything was sent is
 * tried again; one that may have arrived is tried again only by callers whose
 * requests are idempotent, which is all of ours (Idempotency-Key, telemetry,
 * GET); the last result tells whether it may have had an effect.
 */
#include "lib/outcall.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/metrics.h"
#include "lib/text.h"
#include "lib/trace.h"

#define MAX_REPLY (1024 * 1024)

typedef struct Call
{
	OutTarget  *target;
	CURL	   *curl;
	struct curl_slist *headers;
	struct curl_slist *recipients;
	char	   *body;
	size_t		body_length;
	size_t		body_sent;		/* of mail, which is read piecemeal */
	Text		reply;
	Context		context;
	bool		has_context;
	bool		sent;			/* an earlier attempt may have arrived */
	int			attempt;
	uint64_t	subject;
	uint64_t	started_ns;
	struct event *retry;
	OutDone		done;
	void	   *argument;
	char		error[CURL_ERROR_SIZE];
} Call;

static struct
{
	struct event_base *base;
	CURLM	   *multi;
	struct event *timer;
	int			pending;
} outside;

static int	on_socket_wanted(CURL *curl, curl_socket_t socket, int what, void *argument,
							 void *socket_argument);
static int	on_timer_wanted(CURLM *multi, long milliseconds, void *argument);
static void on_socket(evutil_socket_t socket, short what, void *argument);
static void on_timer(evutil_socket_t socket, short what, void *argument);
static void take_finished(void);
static void set_options(Call *call, const OutRequest *request);
static void set_mail_options(Call *call, const OutRequest *request);
static size_t on_reply_bytes(char *bytes, size_t size, size_t count, void *argument);
static size_t on_mail_wanted(char *target, size_t size, size_t count, void *argument);
static uint64_t hash_subject(const char *subject);
static void begin(Call *call);
static void finish(Call *call, CURLcode code);
static OutResult judge(CURL *curl, CURLcode code);
static void on_retry(evutil_socket_t socket, short what, void *argument);
static void conclude(Call *call, OutResult result, long status, const char *error);
static void refuse(evutil_socket_t socket, short what, void *argument);

bool
outcall_start(struct event_base *base)
{
	if (curl_global_init(CURL_GLOBAL_ALL) != CURLE_OK)
		return false;
	outside.base = base;
	outside.multi = curl_multi_init();
	outside.timer = evtimer_new(base, on_timer, NULL);
	curl_multi_setopt(outside.multi, CURLMOPT_SOCKETFUNCTION, on_socket_wanted);
	curl_multi_setopt(outside.multi, CURLMOPT_TIMERFUNCTION, on_timer_wanted);
	return outside.multi != NULL;
}

/* Ends libcurl; no call may be pending. */
void
outcall_stop(void)
{
	if (outside.multi == NULL)
		return;
	curl_multi_cleanup(outside.multi);
	event_free(outside.timer);
	curl_global_cleanup();
	memset(&outside, 0, sizeof(outside));
}

/* Calls whose done has not been called yet. */
int
outcall_pending(void)
{
	return outside.pending;
}

/* A target with the seed's breaker: 1 min, 15 %, 10, but a pause of 30 s. */
void
outcall_target_init(OutTarget *target, const char *name, long timeout_ms, int retries)
{
	memset(target, 0, sizeof(*target));
	target->name = name;
	target->timeout_ms = timeout_ms;
	target->retries = retries;
	target->retry_min_ms = 200;
	target->retry_max_ms = 5000;
	breaker_init(&target->breaker, (BreakerPolicy) {60000, 15, 10, 30000});
}

/* Sends the request; done is called once, later, from the loop. */
void
outcall_send(OutTarget *target, const OutRequest *request, OutDone done, void *argument)
{
	Call	   *call = memory_zero(1, sizeof(*call));
	struct timeval now = {0, 0};

	call->target = target;
	call->done = done;
	call->argument = argument;
	call->subject = hash_subject(request->subject);
	if (request->context)
	{
		context_child(&call->context, request->context);
		call->has_context = true;
	}
	call->started_ns = clock_wall_ns();
	outside.pending++;
	if (!breaker_allows(&target->breaker, clock_steady_ms()))
	{
		call->retry = evtimer_new(outside.base, refuse, call);
		evtimer_add(call->retry, &now);
		return;
	}
	call->curl = curl_easy_init();
	set_options(call, request);
	begin(call);
}

/* libcurl wants to be told when something happens on a socket. */
static int
on_socket_wanted(CURL *curl, curl_socket_t socket, int what, void *argument,
				 void *socket_argument)
{
	struct event *event = socket_argument;
	short		wanted = EV_PERSIST;

	(void) curl;
	(void) argument;
	if (event)
		event_free(event);
	if (what == CURL_POLL_REMOVE)
	{
		curl_multi_assign(outside.multi, socket, NULL);
		return 0;
	}
	wanted |= (what & CURL_POLL_IN) ? EV_READ : 0;
	wanted |= (what & CURL_POLL_OUT) ? EV_WRITE : 0;
	event = event_new(outside.base, socket, wanted, on_socket, NULL);
	event_add(event, NULL);
	curl_multi_assign(outside.multi, socket, event);
	return 0;
}

static int
on_timer_wanted(CURLM *multi, long milliseconds, void *argument)
{
	struct timeval wait = {milliseconds / 1000, milliseconds % 1000 * 1000};

	(void) multi;
	(void) argument;
	if (milliseconds < 0)
		evtimer_del(outside.timer);
	else
		evtimer_add(outside.timer, &wait);
	return 0;
}

static void
on_socket(evutil_socket_t socket, short what, void *argument)
{
	int			running;
	int			action = ((what & EV_READ) ? CURL_CSELECT_IN : 0) |
	((what & EV_WRITE) ? CURL_CSELECT_OUT : 0);

	(void) argument;
	curl_multi_socket_action(outside.multi, socket, action, &running);
	take_finished();
}

static void
on_timer(evutil_socket_t socket, short what, void *argument)
{
	int			running;

	(void) socket;
	(void) what;
	(void) argument;
	curl_multi_socket_action(outside.multi, CURL_SOCKET_TIMEOUT, 0, &running);
	take_finished();
}

static void
take_finished(void)
{
	CURLMsg    *message;
	int			left;

	while ((message = curl_multi_info_read(outside.multi, &left)) != NULL)
	{
		Call	   *call;
		CURLcode	code = message->data.result;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **) &call);
		curl_multi_remove_handle(outside.multi, call->curl);
		finish(call, code);
	}
}

static void
set_options(Call *call, const OutRequest *request)
{
	CURL	   *curl = call->curl;
	char		traceparent[56];
	char		header[80];

	call->body = memory_string_n(request->body ? request->body : "", request->body_length);
	call->body_length = request->body_length;
	curl_easy_setopt(curl, CURLOPT_PRIVATE, call);
	curl_easy_setopt(curl, CURLOPT_URL, request->url);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, call->target->timeout_ms);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, call->error);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_reply_bytes);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, call);
	if (request->user)
		curl_easy_setopt(curl, CURLOPT_USERNAME, request->user);
	if (request->password)
		curl_easy_setopt(curl, CURLOPT_PASSWORD, request->password);
	if (strcmp(request->method, "MAIL") == 0)
	{
		set_mail_options(call, request);
		return;
	}
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	for (const char *const *h = request->headers; h && *h; h++)
		call->headers = curl_slist_append(call->headers, *h);
	if (call->has_context)
	{
		context_traceparent(&call->context, traceparent);
		snprintf(header, sizeof(header), "traceparent: %s", traceparent);
		call->headers = curl_slist_append(call->headers, header);
	}
	/* no "Expect: 100-continue": a second round trip for nothing */
	call->headers = curl_slist_append(call->headers, "Expect:");
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, call->headers);
	if (strcmp(request->method, "POST") == 0)
	{
		curl_easy_setopt(curl, CURLOPT_POST, 1L);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, call->body);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long) call->body_length);
	}
}

static void
set_mail_options(Call *call, const OutRequest *request)
{
	CURL	   *curl = call->curl;

	call->recipients = curl_slist_append(NULL, request->mail_to);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
	curl_easy_setopt(curl, CURLOPT_USE_SSL, (long) CURLUSESSL_TRY);
	curl_easy_setopt(curl, CURLOPT_MAIL_FROM, request->mail_from);
	curl_easy_setopt(curl, CURLOPT_MAIL_RCPT, call->recipients);
	curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
	curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_mail_wanted);
	curl_easy_setopt(curl, CURLOPT_READDATA, call);
}

static size_t
on_reply_bytes(char *bytes, size_t size, size_t count, void *argument)
{
	Call	   *call = argument;

	if (call->reply.length + size * count > MAX_REPLY)
		return 0;				/* libcurl ends the transfer */
	text_add_n(&call->reply, bytes, size * count);
	return size * count;
}

static size_t
on_mail_wanted(char *target, size_t size, size_t count, void *argument)
{
	Call	   *call = argument;
	size_t		left = call->body_length - call->body_sent;
	size_t		length = size * count < left ? size * count : left;

	memcpy(target, call->body + call->body_sent, length);
	call->body_sent += length;
	return length;
}

/* FNV-1a; of no subject a number of its own. */
static uint64_t
hash_subject(const char *subject)
{
	static uint64_t nameless;
	uint64_t	hash = 14695981039346656037u;

	if (subject == NULL)
		return ++nameless;
	for (; *subject; subject++)
		hash = (hash ^ (unsigned char) *subject) * 1099511628211u;
	return hash ? hash : 1;
}

static void
begin(Call *call)
{
	text_reset(&call->reply);
	call->body_sent = 0;
	call->error[0] = '\0';
	curl_multi_add_handle(outside.multi, call->curl);
}

/* One attempt has ended: try again, or tell the caller. */
static void
finish(Call *call, CURLcode code)
{
	OutTarget  *target = call->target;
	OutResult	result = judge(call->curl, code);
	long		status = 0;
	bool		good;

	curl_easy_getinfo(call->curl, CURLINFO_RESPONSE_CODE, &status);
	good = result == OUT_ANSWERED && status != 429 && status < 500;
	breaker_record(&target->breaker, call->subject, good, clock_steady_ms());
	metrics_set(&metric_breaker, target->breaker.state, target->name);
	/* who failed within may have done part of it; 503 is said before anything is done */
	call->sent |= result == OUT_UNKNOWN ||
		(result == OUT_ANSWERED && status >= 500 && status != 503);
	if (!good && call->attempt < target->retries &&
		breaker_allows(&target->breaker, clock_steady_ms()))
	{
		long		delay = backoff_delay(call->attempt++, target->retry_min_ms,
										  target->retry_max_ms, random_fraction());
		struct timeval wait = {delay / 1000, delay % 1000 * 1000};

		if (call->retry == NULL)
			call->retry = evtimer_new(outside.base, on_retry, call);
		evtimer_add(call->retry, &wait);
		return;
	}
	utf8_repair(call->error);	/* it may quote what the other side said */
	/* an earlier attempt may have arrived even if the last one did not */
	if (result == OUT_NOT_SENT && call->sent)
		result = OUT_UNKNOWN;
	conclude(call, result, status, code == CURLE_OK ? "" : call->error[0] ? call->error
			 : curl_easy_strerror(code));
}

/* Whether the request was answered, never left, or may have arrived. */
static OutResult
judge(CURL *curl, CURLcode code)
{
	long		request_bytes = 0;

	switch (code)
	{
		case CURLE_OK:
			return OUT_ANSWERED;
		case CURLE_COULDNT_RESOLVE_HOST:
		case CURLE_COULDNT_CONNECT:
		case CURLE_SSL_CONNECT_ERROR:
		case CURLE_PEER_FAILED_VERIFICATION:
		case CURLE_URL_MALFORMAT:
		case CURLE_UNSUPPORTED_PROTOCOL:
			return OUT_NOT_SENT;
		default:
			curl_easy_getinfo(curl, CURLINFO_REQUEST_SIZE, &request_bytes);
			return request_bytes > 0 ? OUT_UNKNOWN : OUT_NOT_SENT;
	}
}

static void
on_retry(evutil_socket_t socket, short what, void *argument)
{
	(void) socket;
	(void) what;
	begin(argument);
}

/* Counts, traces, tells the caller and frees the call. */
static void
conclude(Call *call, OutResult result, long status, const char *error)
{
	OutTarget  *target = call->target;
	OutReply	reply = {result, call->sent, status, text_value(&call->reply),
	call->reply.length, error};
	uint64_t	now = clock_wall_ns();
	static const char *const outcomes[] = {"answered", "not_sent", "unknown"};

	metrics_count(&metric_calls, 1, target->name, outcomes[result]);
	metrics_observe(&metric_call_duration, (double) (now - call->started_ns) / 1e9, target->name);
	if (!target->quiet)
	{
		if (call->has_context)
			trace_record(&call->context, SPAN_CLIENT, target->name, call->started_ns, now,
						 result == OUT_ANSWERED ? NULL : error);
		if (result != OUT_ANSWERED)
			log_write(LEVEL_WARNING, call->has_context ? &call->context : NULL,
					  "Call to {Target} failed: {Error}", "Target", target->name, "Error", error,
					  "Outcome", outcomes[result], NULL);
	}
	call->done(call->argument, &reply);
	outside.pending--;
	if (call->retry)
		event_free(call->retry);
	if (call->curl)
		curl_easy_cleanup(call->curl);
	curl_slist_free_all(call->headers);
	curl_slist_free_all(call->recipients);
	text_free(&call->reply);
	free(call->body);
	free(call);
}

static void
refuse(evutil_socket_t socket, short what, void *argument)
{
	(void) socket;
	(void) what;
	conclude(argument, OUT_NOT_SENT, 0, "circuit breaker is open");
}
