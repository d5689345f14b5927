/*
 * metrics.h
 *		Counters, gauges and histograms in the Prometheus text format.
 *
 * Label values must come from small fixed sets (routes, message types, status
 * codes), never from what a client sends.
 */
#ifndef SERVICES_LIB_METRICS_H
#define SERVICES_LIB_METRICS_H

#include "lib/text.h"

#define METRIC_MAX_LABELS 3

typedef enum MetricKind
{
	METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM
} MetricKind;

typedef struct Series Series;

typedef struct Metric
{
	const char *name;
	const char *help;
	MetricKind	kind;
	int			nlabels;
	const char *labels[METRIC_MAX_LABELS];
	Series	   *series;
} Metric;

extern Metric metric_http_requests;			/* method, route, status */
extern Metric metric_http_duration;			/* route */
extern Metric metric_messages;				/* type, outcome */
extern Metric metric_message_duration;		/* type */
extern Metric metric_message_delay;			/* endpoint */
extern Metric metric_work;					/* operation, outcome */
extern Metric metric_calls;					/* target, outcome */
extern Metric metric_call_duration;			/* target */
extern Metric metric_breaker;				/* target: 0 closed, 1 open, 2 half open */
extern Metric metric_pool;					/* state */
extern Metric metric_consumer_up;			/* endpoint */
extern Metric metric_exports;				/* signal, outcome */
extern Metric metric_duties;				/* duty: rows done */
extern Metric metric_link_messages;			/* link, outcome */
extern Metric metric_link_up;				/* link */
extern Metric metric_feed_events;			/* projection, outcome */
extern Metric metric_feed_up;				/* projection */
extern Metric metric_bridge_messages;		/* bridge, outcome */
extern Metric metric_bridge_up; /* bridge, direction */
extern Metric metric_sink_events;			/* sink */
extern Metric metric_sink_up;				/* sink */

/* The label values follow, as many strings as the metric has labels. */
void		metrics_count(Metric *metric, double amount, ...);
void		metrics_set(Metric *metric, double value, ...);
void		metrics_observe(Metric *metric, double seconds, ...);

void		metrics_write(Text *target);
void		metrics_clear(void);

#endif
