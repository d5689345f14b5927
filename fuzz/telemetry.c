/*
 * telemetry.c
 *		Fuzz target of what is exported of traces and logs: a collector can read it,
 *		whatever names, values and errors there were.
 *
 * Input: what OTEL_EXPORTER_OTLP_HEADERS says, the collector's answer, the service's name and
 * a message type, and then names, values and errors of log lines and spans.
 */
#include "fuzz/daemon.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/context.h"
#include "lib/log.h"
#include "lib/otlp.h"
#include "lib/text.h"
#include "lib/trace.h"
#include "otlp.pb-c.h"

static struct event_base *base;
static const char *answer = "";
static size_t lines;			/* that were said */
static size_t spans;
static size_t exported;			/* of both */

void
fuzz_telemetry_start(void)
{
	base = event_base_new();
	(void) log_open("fuzz", "Debug", "/dev/null");
}

static void
check_text(const char *text)
{
	if (!utf8_valid(text))
		fuzz_stop("a text is exported that is no UTF-8");
}

static void
check_pairs(Otlp__KeyValue **pairs, size_t n)
{
	for (size_t i = 0; i < n; i++)
	{
		check_text(pairs[i]->key);
		check_text(pairs[i]->value->string_value);
	}
}

static void
check_logs(const OutRequest *request)
{
	Otlp__ExportLogsServiceRequest *logs =
		otlp__export_logs_service_request__unpack(NULL, request->body_length, request->body);
	Otlp__ScopeLogs *scope;

	if (logs == NULL || logs->n_resource_logs != 1 || logs->resource_logs[0]->n_scope_logs != 1)
		fuzz_stop("logs are exported that nobody can read");
	scope = logs->resource_logs[0]->scope_logs[0];
	if (scope->n_log_records != lines)
		fuzz_stop("lines of the log are missing");
	for (size_t i = 0; i < scope->n_log_records; i++)
	{
		check_text(scope->log_records[i]->body->string_value);
		check_pairs(scope->log_records[i]->attributes, scope->log_records[i]->n_attributes);
	}
	exported += scope->n_log_records;
	otlp__export_logs_service_request__free_unpacked(logs, NULL);
}

static void
check_traces(const OutRequest *request)
{
	Otlp__ExportTraceServiceRequest *traces =
		otlp__export_trace_service_request__unpack(NULL, request->body_length, request->body);
	Otlp__ScopeSpans *scope;

	if (traces == NULL || traces->n_resource_spans != 1 ||
		traces->resource_spans[0]->n_scope_spans != 1)
		fuzz_stop("spans are exported that nobody can read");
	scope = traces->resource_spans[0]->scope_spans[0];
	if (scope->n_spans != spans)
		fuzz_stop("spans are missing");
	for (size_t i = 0; i < scope->n_spans; i++)
	{
		check_text(scope->spans[i]->name);
		check_text(scope->spans[i]->status->message);
		check_pairs(scope->spans[i]->attributes, scope->spans[i]->n_attributes);
	}
	exported += scope->n_spans;
	otlp__export_trace_service_request__free_unpacked(traces, NULL);
}

static void
on_request(const OutRequest *request, OutDone done, void *argument)
{
	OutReply	reply;

	for (int i = 0; request->headers[i]; i++)
		if (strchr(request->headers[i], ':') == NULL ||
			request->headers[i][strcspn(request->headers[i], "\r\n")])
			fuzz_stop("a header is none");
	if (strstr(request->url, "/v1/logs"))
		check_logs(request);
	else
		check_traces(request);
	fuzz_reply(answer, &reply);
	done(argument, &reply);
}

void
fuzz_telemetry(const char *data, size_t size)
{
	char	   *text = memory_string_n(data, size);
	char	   *parts[FUZZ_MAX_PARTS];
	int			count = fuzz_split(text, parts);
	OtlpOptions options = {.endpoint = "http://collector.invalid/", .traces_endpoint = "",
		.logs_endpoint = "", .headers = parts[0], .service = count > 2 ? parts[2] : "fuzz",
		.version = "1"};
	Context		context;

	fuzz_outcall = on_request;
	lines = spans = exported = 0;
	answer = count > 1 ? parts[1] : "";
	context_start(&context, NULL, NULL);
	context.is_message = true;
	copy_string(context.subject, sizeof(context.subject), count > 2 ? parts[2] : "");
	otlp_start(base, &options);
	for (int i = 3; i < count; i++)
	{
		const char *other = parts[i + 1 < count ? i + 1 : 3];

		log_write(LEVEL_WARNING, i % 2 ? &context : NULL, parts[i], "Value", other, "Other",
				  parts[i], NULL);
		trace_record(&context, SPAN_CONSUMER, other, 1, 2, i % 2 ? parts[i] : NULL);
		lines++;
		spans++;
	}
	otlp_flush();
	if (exported != lines + spans)
		fuzz_stop("not everything is exported");
	otlp_stop();
	free(text);
}
