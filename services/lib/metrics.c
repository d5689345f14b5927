/*
 * metrics.c
 *		Counters, gauges and histograms in the Prometheus text format.
 */
#include "lib/metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* Upper bounds in seconds; +Inf is implied. */
static const double buckets[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5,
5, 10, 30};

struct Series
{
	Series	   *next;
	char	   *labels[METRIC_MAX_LABELS];
	double		value;			/* of a histogram: the sum */
	uint64_t	count;
	uint64_t	in_bucket[lengthof(buckets)];
};

Metric		metric_http_requests = {"http_requests_total", "HTTP requests answered.",
METRIC_COUNTER, 3, {"method", "route", "status"}, NULL};
Metric		metric_http_duration = {"http_request_duration_seconds",
"Time from the request's last byte to the reply.", METRIC_HISTOGRAM, 1, {"route"}, NULL};
Metric		metric_messages = {"messages_total", "Messages taken from the bus.",
METRIC_COUNTER, 2, {"type", "outcome"}, NULL};
Metric		metric_message_duration = {"message_duration_seconds",
"Time from receiving a message to its commit.", METRIC_HISTOGRAM, 1, {"type"}, NULL};
Metric		metric_message_delay = {"message_delay_seconds",
"Time from sending a message, or from when it was due, to receiving it.", METRIC_HISTOGRAM, 1,
{"endpoint"}, NULL};
Metric		metric_work = {"outside_work_total", "Outside work done.", METRIC_COUNTER, 2,
{"operation", "outcome"}, NULL};
Metric		metric_calls = {"outside_calls_total", "Calls to the outside.", METRIC_COUNTER, 2,
{"target", "outcome"}, NULL};
Metric		metric_call_duration = {"outside_call_duration_seconds", "Duration of outside calls.",
METRIC_HISTOGRAM, 1, {"target"}, NULL};
Metric		metric_breaker = {"outside_breaker_state", "0 closed, 1 open, 2 half open.",
METRIC_GAUGE, 1, {"target"}, NULL};
Metric		metric_pool = {"database_connections", "Connections of the pool and batches waiting.",
METRIC_GAUGE, 1, {"state"}, NULL};
Metric		metric_consumer_up = {"consumer_connected", "1 while the endpoint is consumed.",
METRIC_GAUGE, 1, {"endpoint"}, NULL};
Metric		metric_exports = {"telemetry_exported_total", "Spans and log records exported.",
METRIC_COUNTER, 2, {"signal", "outcome"}, NULL};
Metric		metric_duties = {"duty_rows_total", "Rows that periodic duties have worked on.",
METRIC_COUNTER, 1, {"duty"}, NULL};
Metric		metric_link_messages = {"link_messages_total", "Messages brought over links.",
METRIC_COUNTER, 2, {"link", "outcome"}, NULL};
Metric		metric_link_up = {"link_up", "1 while a link carries.", METRIC_GAUGE, 1, {"link"},
NULL};
Metric		metric_bridge_messages = {"bridge_messages_total", "Messages to and from brokers.",
METRIC_COUNTER, 2, {"bridge", "outcome"}, NULL};
Metric		metric_bridge_up = {"bridge_up", "1 while the broker can be reached.", METRIC_GAUGE, 2,
{"bridge", "direction"}, NULL};
Metric		metric_sink_events = {"sink_events_total", "Events published.", METRIC_COUNTER, 1,
{"sink"}, NULL};
Metric		metric_sink_up = {"sink_up", "1 while a sink gets its events.", METRIC_GAUGE, 1,
{"sink"}, NULL};

Metric		metric_feed_events = {"feed_events_total", "Events brought to projections.",
METRIC_COUNTER, 2, {"projection", "outcome"}, NULL};
Metric		metric_feed_up = {"feed_up", "1 while a projection is fed.", METRIC_GAUGE, 1,
{"projection"}, NULL};

static Metric *const all_metrics[] = {
	&metric_http_requests, &metric_http_duration, &metric_messages, &metric_message_duration,
	&metric_message_delay, &metric_work, &metric_calls, &metric_call_duration, &metric_breaker,
	&metric_pool, &metric_consumer_up, &metric_exports, &metric_duties, &metric_link_messages,
	&metric_link_up, &metric_feed_events, &metric_feed_up, &metric_bridge_messages,
	&metric_bridge_up, &metric_sink_events, &metric_sink_up
};

static Series *find_series(Metric *metric, va_list labels);
static void write_series(Text *target, const Metric *metric, const Series *series);
static void write_name(Text *target, const Metric *metric, const Series *series,
					   const char *suffix, const char *bound);
static void write_process(Text *target);

void
metrics_count(Metric *metric, double amount, ...)
{
	va_list		labels;

	va_start(labels, amount);
	find_series(metric, labels)->value += amount;
	va_end(labels);
}

void
metrics_set(Metric *metric, double value, ...)
{
	va_list		labels;

	va_start(labels, value);
	find_series(metric, labels)->value = value;
	va_end(labels);
}

void
metrics_observe(Metric *metric, double seconds, ...)
{
	va_list		labels;
	Series	   *series;

	va_start(labels, seconds);
	series = find_series(metric, labels);
	va_end(labels);
	if (seconds < 0)
		seconds = 0;			/* two clocks may disagree */
	series->value += seconds;
	series->count++;
	for (size_t i = 0; i < lengthof(buckets); i++)
		if (seconds <= buckets[i])
		{
			series->in_bucket[i]++;
			break;
		}
}

/* Adds all metrics, and those of the process, in the exposition format. */
void
metrics_write(Text *target)
{
	static const char *const kinds[] = {"counter", "gauge", "histogram"};

	for (size_t m = 0; m < lengthof(all_metrics); m++)
	{
		const Metric *metric = all_metrics[m];

		if (metric->series == NULL)
			continue;
		text_format(target, "# HELP %s %s\n# TYPE %s %s\n", metric->name, metric->help,
					metric->name, kinds[metric->kind]);
		for (const Series *series = metric->series; series; series = series->next)
			write_series(target, metric, series);
	}
	write_process(target);
}

/* Forgets all series; for the end of the process and for tests. */
void
metrics_clear(void)
{
	for (size_t m = 0; m < lengthof(all_metrics); m++)
		while (all_metrics[m]->series)
		{
			Series	   *series = all_metrics[m]->series;

			all_metrics[m]->series = series->next;
			for (int i = 0; i < METRIC_MAX_LABELS; i++)
				free(series->labels[i]);
			free(series);
		}
}

/* The series with these labels, made on first use. */
static Series *
find_series(Metric *metric, va_list labels)
{
	const char *values[METRIC_MAX_LABELS];
	Series	   *series;

	for (int i = 0; i < metric->nlabels; i++)
		values[i] = va_arg(labels, const char *);
	for (series = metric->series; series; series = series->next)
	{
		bool		same = true;

		for (int i = 0; i < metric->nlabels && same; i++)
			same = strcmp(series->labels[i], values[i]) == 0;
		if (same)
			return series;
	}
	series = memory_zero(1, sizeof(*series));
	for (int i = 0; i < metric->nlabels; i++)
		series->labels[i] = memory_string(values[i]);
	series->next = metric->series;
	metric->series = series;
	return series;
}

static void
write_series(Text *target, const Metric *metric, const Series *series)
{
	uint64_t	total = 0;
	char		bound[32];

	if (metric->kind != METRIC_HISTOGRAM)
	{
		write_name(target, metric, series, "", NULL);
		text_format(target, " %.15g\n", series->value);
		return;
	}
	for (size_t i = 0; i < lengthof(buckets); i++)
	{
		total += series->in_bucket[i];
		snprintf(bound, sizeof(bound), "%g", buckets[i]);
		write_name(target, metric, series, "_bucket", bound);
		text_format(target, " %llu\n", (unsigned long long) total);
	}
	write_name(target, metric, series, "_bucket", "+Inf");
	text_format(target, " %llu\n", (unsigned long long) series->count);
	write_name(target, metric, series, "_sum", NULL);
	text_format(target, " %.9g\n", series->value);
	write_name(target, metric, series, "_count", NULL);
	text_format(target, " %llu\n", (unsigned long long) series->count);
}

static void
write_name(Text *target, const Metric *metric, const Series *series, const char *suffix,
		   const char *bound)
{
	const char *separator = "";

	text_format(target, "%s%s", metric->name, suffix);
	if (metric->nlabels == 0 && bound == NULL)
		return;
	text_add(target, "{");
	for (int i = 0; i < metric->nlabels; i++)
	{
		text_format(target, "%s%s=", separator, metric->labels[i]);
		/* JSON's escapes are a superset of what the format needs here */
		text_json(target, series->labels[i]);
		separator = ",";
	}
	if (bound)
		text_format(target, "%sle=\"%s\"", separator, bound);
	text_add(target, "}");
}

static void
write_process(Text *target)
{
	struct rusage usage;
	long		pages = 0;
	FILE	   *statm = fopen("/proc/self/statm", "re");

	if (statm)
	{
		if (fscanf(statm, "%*s %ld", &pages) != 1)
			pages = 0;
		fclose(statm);
	}
	getrusage(RUSAGE_SELF, &usage);
	text_format(target,
				"# HELP process_resident_memory_bytes Resident memory size in bytes.\n"
				"# TYPE process_resident_memory_bytes gauge\n"
				"process_resident_memory_bytes %ld\n"
				"# HELP process_cpu_seconds_total User and system CPU time in seconds.\n"
				"# TYPE process_cpu_seconds_total counter\n"
				"process_cpu_seconds_total %.3f\n",
				pages * sysconf(_SC_PAGESIZE),
				(double) (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
				(double) (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
}
