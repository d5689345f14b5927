/*
 * otlp.c
 *		Export of traces and logs in the OpenTelemetry protocol, over HTTP with
 *		protobuf bodies.
 *
 * Spans and log records are kept packed in memory and sent every second, or
 * when enough have gathered.  Telemetry must never hold up the work: when the
 * collector is down or slow, what does not fit is dropped and counted.
 */
#include "lib/otlp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <event2/http.h>

#include "lib/log.h"
#include "lib/metrics.h"
#include "otlp.pb-c.h"
#include "lib/outcall.h"
#include "lib/text.h"
#include "lib/trace.h"

#define FLUSH_MS 1000
#define BATCH 256
#define CAPACITY 2048
#define MAX_ATTRIBUTES 18
#define MAX_HEADERS 16

/* One signal's records, packed one by one, waiting to be sent. */
typedef struct Queue
{
	const char *signal;
	char	   *url;			/* NULL: not exported */
	ProtobufCBinaryData records[CAPACITY];
	size_t		n;
	size_t		sending;
	bool		underway;
} Queue;

/* An attribute with its value, allocated together. */
typedef struct Attribute
{
	Otlp__KeyValue pair;
	Otlp__AnyValue value;
} Attribute;

static struct
{
	char	   *service;
	char	   *version;
	const char *headers[MAX_HEADERS + 2];	/* ended by NULL */
	int			n_headers;
	struct event *timer;
	OutTarget	target;
	char	   *texts[2 * MAX_ATTRIBUTES + 4]; /* repaired, for the record being packed */
	int			n_texts;
} exporter;

static Queue spans = {.signal = "traces"};
static Queue logs = {.signal = "logs"};

static void read_headers(const char *list);
static void add_header(const char *pair, size_t length);
static char *make_url(const char *endpoint, const char *whole, const char *path);
static void stop_queue(Queue *queue);
static void on_timer(evutil_socket_t socket, short what, void *argument);
static void on_log(const LogRecord *record);
static void on_span(const Context *context, SpanKind kind, const char *name, uint64_t start_ns,
					uint64_t end_ns, const char *error);
static void enqueue(Queue *queue, const ProtobufCMessage *message);
static void send_queue(Queue *queue);
static void pack_request(Text *target, Queue *queue);
static void add_field(Text *target, int field, const void *bytes, size_t length);
static void add_varint(Text *target, uint64_t value);
static void on_sent(void *argument, const OutReply *reply);
static void drop_records(Queue *queue, size_t n);
static ProtobufCBinaryData from_hex(unsigned char *target, const char *hex);
static Otlp__KeyValue *attribute(Attribute *attribute, const char *name, const char *value);
static char *as_text(const char *value);
static void forget_texts(void);

/* Starts to export what has an endpoint; without any it stays off. */
void
otlp_start(struct event_base *base, const OtlpOptions *options)
{
	struct timeval interval = {FLUSH_MS / 1000, FLUSH_MS % 1000 * 1000};

	spans.url = make_url(options->endpoint, options->traces_endpoint, "/v1/traces");
	logs.url = make_url(options->endpoint, options->logs_endpoint, "/v1/logs");
	if (spans.url == NULL && logs.url == NULL)
		return;
	exporter.service = memory_string(options->service);
	exporter.version = memory_string(options->version);
	read_headers(options->headers);
	outcall_target_init(&exporter.target, "otlp", 10000, 0);
	exporter.target.quiet = true;
	exporter.timer = event_new(base, -1, EV_PERSIST, on_timer, NULL);
	event_add(exporter.timer, &interval);
	if (logs.url)
		log_set_sink(on_log);
	if (spans.url)
		trace_set_sink(on_span);
}

/* Sends what has gathered, without waiting for the timer. */
void
otlp_flush(void)
{
	send_queue(&spans);
	send_queue(&logs);
}

void
otlp_stop(void)
{
	log_set_sink(NULL);
	trace_set_sink(NULL);
	stop_queue(&spans);
	stop_queue(&logs);
	if (exporter.timer)
		event_free(exporter.timer);
	exporter.timer = NULL;
	free(exporter.service);
	free(exporter.version);
	for (int i = 1; i < exporter.n_headers; i++)
	{
		free((char *) exporter.headers[i]);
		exporter.headers[i] = NULL;
	}
}

static void
on_span(const Context *context, SpanKind kind, const char *name, uint64_t start_ns,
		uint64_t end_ns, const char *error)
{
	Otlp__Span	span = OTLP__SPAN__INIT;
	Otlp__Status status = OTLP__STATUS__INIT;
	unsigned char trace_id[16];
	unsigned char span_id[8];
	unsigned char parent_id[8];
	Attribute	pairs[2];
	Otlp__KeyValue *attributes[2];
	const char *subject = context->is_message ? "messaging.message.type" : "http.route";

	span.trace_id = from_hex(trace_id, context->trace_id);
	span.span_id = from_hex(span_id, context->span_id);
	span.parent_span_id = from_hex(parent_id, context->parent_span_id);
	span.name = as_text(name);
	span.kind = (Otlp__Span__SpanKind) kind;
	span.start_time_unix_nano = start_ns;
	span.end_time_unix_nano = end_ns;
	attributes[0] = attribute(&pairs[0], "correlation.id", context->correlation_id);
	attributes[1] = attribute(&pairs[1], subject, context->subject);
	span.attributes = attributes;
	span.n_attributes = context->subject[0] ? 2 : 1;
	if (error)
	{
		status.code = OTLP__STATUS__STATUS_CODE__STATUS_CODE_ERROR;
		status.message = as_text(error);
	}
	span.status = &status;
	enqueue(&spans, &span.base);
	forget_texts();
}

/* "name=value,name=value"; values are percent-encoded, as in W3C Baggage. */
static void
read_headers(const char *list)
{
	exporter.headers[0] = "Content-Type: application/x-protobuf";
	exporter.n_headers = 1;
	while (*list)
	{
		size_t		length = strcspn(list, ",");

		add_header(list, length);
		list += length + (list[length] == ',' ? 1 : 0);
	}
}

static void
add_header(const char *pair, size_t length)
{
	char	   *copy;
	char	   *equals;
	char	   *value;
	Text		header = {0};

	while (length > 0 && *pair == ' ')
		pair++, length--;
	while (length > 0 && pair[length - 1] == ' ')
		length--;
	copy = memory_string_n(pair, length);
	equals = strchr(copy, '=');
	if (equals && equals != copy && exporter.n_headers <= MAX_HEADERS)
	{
		*equals = '\0';
		value = evhttp_uridecode(equals + 1, 0, NULL);
		/* what could end the header is neither its name nor its value */
		if (copy[strcspn(copy, ": \t\r\n")] == '\0' && value &&
			value[strcspn(value, "\r\n")] == '\0')
		{
			text_format(&header, "%s: %s", copy, value);
			exporter.headers[exporter.n_headers++] = text_take(&header);
		}
		free(value);
	}
	free(copy);
}

/* Where a signal goes, or NULL. */
static char *
make_url(const char *endpoint, const char *whole, const char *path)
{
	size_t		length = strlen(endpoint);
	Text		url = {0};

	if (whole[0])
		return memory_string(whole);
	if (length == 0)
		return NULL;
	while (length > 0 && endpoint[length - 1] == '/')
		length--;
	text_format(&url, "%.*s%s", (int) length, endpoint, path);
	return text_take(&url);
}

static void
stop_queue(Queue *queue)
{
	drop_records(queue, queue->n);
	free(queue->url);
	queue->url = NULL;
}

static void
on_timer(evutil_socket_t socket, short what, void *argument)
{
	(void) socket;
	(void) what;
	(void) argument;
	otlp_flush();
}

static void
on_log(const LogRecord *record)
{
	/* severity numbers of the specification: DEBUG 5, INFO 9, WARN 13, ERROR 17, FATAL 21 */
	static const int severities[] = {5, 9, 13, 17, 21};
	Otlp__LogRecord packed = OTLP__LOG_RECORD__INIT;
	Otlp__AnyValue body = OTLP__ANY_VALUE__INIT;
	unsigned char trace_id[16];
	unsigned char span_id[8];
	Attribute	pairs[MAX_ATTRIBUTES];
	Otlp__KeyValue *attributes[MAX_ATTRIBUTES];

	packed.time_unix_nano = packed.observed_time_unix_nano = record->time_ns;
	packed.severity_number = severities[record->level];
	packed.severity_text = (char *) log_level_name(record->level);
	body.value_case = OTLP__ANY_VALUE__VALUE_STRING_VALUE;
	body.string_value = as_text(record->message);
	packed.body = &body;
	if (record->context)
	{
		packed.trace_id = from_hex(trace_id, record->context->trace_id);
		packed.span_id = from_hex(span_id, record->context->span_id);
		packed.flags = record->context->sampled ? 1 : 0;
	}
	for (int i = 0; i < record->nfields && i < MAX_ATTRIBUTES; i++)
		if (record->fields[2 * i + 1])
		{
			attributes[packed.n_attributes] = attribute(&pairs[i], record->fields[2 * i],
														record->fields[2 * i + 1]);
			packed.n_attributes++;
		}
	packed.attributes = attributes;
	enqueue(&logs, &packed.base);
	forget_texts();
}

static void
enqueue(Queue *queue, const ProtobufCMessage *message)
{
	ProtobufCBinaryData *record;

	if (queue->n >= CAPACITY)
	{
		metrics_count(&metric_exports, 1, queue->signal, "dropped");
		return;
	}
	record = &queue->records[queue->n++];
	record->len = protobuf_c_message_get_packed_size(message);
	record->data = memory_zero(record->len, 1);
	protobuf_c_message_pack(message, record->data);
	if (queue->n >= BATCH)
		send_queue(queue);
}

static void
send_queue(Queue *queue)
{
	Text		body = {0};
	OutRequest	request = {.method = "POST", .headers = exporter.headers};

	if (queue->n == 0 || queue->underway)
		return;
	queue->underway = true;
	queue->sending = queue->n;
	pack_request(&body, queue);
	request.url = queue->url;
	request.body = body.data;
	request.body_length = body.length;
	outcall_send(&exporter.target, &request, on_sent, queue);
	text_free(&body);
}

/*
 * Both requests have the same frame: resource_spans or resource_logs is field
 * 1, in it the resource is field 1 and the scope's records field 2, in that
 * the scope is field 1 and each record field 2.  The records are packed
 * already, so the frame is put around them by hand.
 */
static void
pack_request(Text *target, Queue *queue)
{
	Otlp__Resource resource = OTLP__RESOURCE__INIT;
	Otlp__InstrumentationScope scope = OTLP__INSTRUMENTATION_SCOPE__INIT;
	Attribute	pairs[2];
	Otlp__KeyValue *attributes[2];
	Text		inner = {0};
	Text		outer = {0};
	Text		buffer = {0};

	attributes[0] = attribute(&pairs[0], "service.name", exporter.service);
	attributes[1] = attribute(&pairs[1], "service.version", exporter.version);
	resource.attributes = attributes;
	resource.n_attributes = 2;
	scope.name = "ecommerce";
	scope.version = exporter.version;

	buffer.length = otlp__instrumentation_scope__get_packed_size(&scope);
	buffer.data = memory_zero(buffer.length, 1);
	otlp__instrumentation_scope__pack(&scope, (uint8_t *) buffer.data);
	add_field(&inner, 1, buffer.data, buffer.length);
	for (size_t i = 0; i < queue->sending; i++)
		add_field(&inner, 2, queue->records[i].data, queue->records[i].len);
	text_free(&buffer);
	buffer.length = otlp__resource__get_packed_size(&resource);
	buffer.data = memory_zero(buffer.length, 1);
	otlp__resource__pack(&resource, (uint8_t *) buffer.data);
	add_field(&outer, 1, buffer.data, buffer.length);
	add_field(&outer, 2, inner.data, inner.length);
	add_field(target, 1, outer.data, outer.length);
	text_free(&inner);
	text_free(&outer);
	text_free(&buffer);
	forget_texts();
}

/* A length-delimited field of the wire format. */
static void
add_field(Text *target, int field, const void *bytes, size_t length)
{
	add_varint(target, (uint64_t) field << 3 | 2);
	add_varint(target, length);
	text_add_n(target, bytes, length);
}

static void
add_varint(Text *target, uint64_t value)
{
	while (value >= 0x80)
	{
		text_add_n(target, &(char) {(char) (value | 0x80)}, 1);
		value >>= 7;
	}
	text_add_n(target, &(char) {(char) value}, 1);
}

static void
on_sent(void *argument, const OutReply *reply)
{
	Queue	   *queue = argument;
	bool		good = reply->result == OUT_ANSWERED && reply->status < 300;
	/* the collector may be asked again later, and wants to be when it says 429 */
	bool		passing = reply->result != OUT_ANSWERED || reply->status >= 500 ||
		reply->status == 429;
	bool		kept = !good && passing && queue->n < CAPACITY / 2;

	queue->underway = false;
	if (queue->url == NULL || kept)
		return;					/* stopped, or the timer tries again */
	metrics_count(&metric_exports, (double) queue->sending, queue->signal,
				  good ? "sent" : "dropped");
	drop_records(queue, queue->sending);
}

/* Forgets the first n records. */
static void
drop_records(Queue *queue, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(queue->records[i].data);
	queue->n -= n;
	memmove(queue->records, queue->records + n, queue->n * sizeof(queue->records[0]));
	queue->sending = 0;
}

/* Identifiers are bytes on the wire; an empty one stays empty. */
static ProtobufCBinaryData
from_hex(unsigned char *target, const char *hex)
{
	size_t		n = strlen(hex) / 2;

	for (size_t i = 0; i < n; i++)
	{
		char		digits[3] = {hex[2 * i], hex[2 * i + 1], '\0'};

		target[i] = (unsigned char) strtoul(digits, NULL, 16);
	}
	return (ProtobufCBinaryData) {n, target};
}

static Otlp__KeyValue *
attribute(Attribute *attribute, const char *name, const char *value)
{
	otlp__key_value__init(&attribute->pair);
	otlp__any_value__init(&attribute->value);
	attribute->pair.key = as_text(name);
	attribute->pair.value = &attribute->value;
	attribute->value.value_case = OTLP__ANY_VALUE__VALUE_STRING_VALUE;
	attribute->value.string_value = as_text(value);
	return &attribute->pair;
}

/*
 * A value as collectors take it: they refuse all of a request for one byte in it
 * that is no UTF-8.  Good until forget_texts().
 */
static char *
as_text(const char *value)
{
	char	   *copy;

	if (utf8_valid(value))
		return (char *) value;
	copy = memory_string(value);
	utf8_repair(copy);
	exporter.texts[exporter.n_texts++] = copy;
	return copy;
}

static void
forget_texts(void)
{
	while (exporter.n_texts > 0)
		free(exporter.texts[--exporter.n_texts]);
}
