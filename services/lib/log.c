/*
 * log.c
 *		Structured logs in CLEF, to standard error or a file.
 *
 * Each line goes out with one write(2) to a descriptor opened for appending, so
 * lines of several processes in one file do not mix, and a crash loses none
 * that was written.
 */
#include "lib/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/text.h"

#define MAX_FIELDS 16

static struct
{
	char	   *service;
	char	   *file;
	int			descriptor;
	LogLevel	threshold;
	LogSink		sink;
	LogSink		instead;		/* of writing lines */
} logger = {.descriptor = STDERR_FILENO, .threshold = LEVEL_INFORMATION};

static const char *const level_names[] = {"Debug", "Information", "Warning", "Error", "Fatal"};

static int	collect_fields(const char **fields, const Context *context, va_list arguments);
static void render(Text *target, const char *template, const char *const *fields, int nfields);
static void add_line(Text *line, const LogRecord *record, const char *template);

/*
 * Starts logging as that service.  file NULL or "" is standard error.  Returns
 * false, having said why, if the level is unknown or the file cannot be opened.
 */
bool
log_open(const char *service, const char *level, const char *file)
{
	free(logger.service);
	free(logger.file);
	logger.service = memory_string(service);
	logger.file = memory_string(file && file[0] ? file : NULL);
	if (!log_set_level(level))
	{
		fprintf(stderr, "%s: unknown log level \"%s\"\n", service, level);
		return false;
	}
	return log_reopen();
}

/* Opens the log file again, after somebody has moved it away. */
bool
log_reopen(void)
{
	int			descriptor;

	if (logger.file == NULL)
		return true;
	descriptor = open(logger.file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
	if (descriptor < 0)
	{
		fprintf(stderr, "cannot open log file \"%s\": %s\n", logger.file, strerror(errno));
		return false;
	}
	if (logger.descriptor != STDERR_FILENO)
		close(logger.descriptor);
	logger.descriptor = descriptor;
	return true;
}

bool
log_set_level(const char *level)
{
	for (size_t i = 0; i < lengthof(level_names); i++)
		if (strcasecmp(level, level_names[i]) == 0)
		{
			logger.threshold = (LogLevel) i;
			return true;
		}
	return false;
}

/* Also passes each record to sink; NULL stops that. */
void
log_set_sink(LogSink sink)
{
	logger.sink = sink;
}

/* Passes each record to sink instead of writing a line; NULL writes lines again. */
void
log_divert(LogSink sink)
{
	logger.instead = sink;
}

/* Back to what it was at the start: standard error, no name. */
void
log_close(void)
{
	if (logger.descriptor != STDERR_FILENO)
		close(logger.descriptor);
	logger.descriptor = STDERR_FILENO;
	free(logger.service);
	free(logger.file);
	logger.service = logger.file = NULL;
}

const char *
log_level_name(LogLevel level)
{
	return level_names[level];
}

void
log_write(LogLevel level, const Context *context, const char *template, ...)
{
	const char *fields[2 * MAX_FIELDS];
	LogRecord	record = {.time_ns = clock_wall_ns(), .level = level, .context = context};
	Text		message = {0};
	Text		line = {0};
	va_list		arguments;

	if (level < logger.threshold)
		return;
	va_start(arguments, template);
	record.nfields = collect_fields(fields, context, arguments);
	va_end(arguments);
	record.fields = fields;

	render(&message, template, fields, record.nfields);
	record.message = text_value(&message);
	if (logger.instead)
		logger.instead(&record);
	else
	{
		add_line(&line, &record, template);
		/* nobody is left to tell when the log itself cannot be written */
		if (write(logger.descriptor, line.data, line.length) < 0)
			errno = 0;
	}
	if (logger.sink)
		logger.sink(&record);
	text_free(&message);
	text_free(&line);
}

/* Gathers the context's fields and the caller's; returns the number of pairs. */
static int
collect_fields(const char **fields, const Context *context, va_list arguments)
{
	int			n = 0;
	const char *name;

	if (context)
	{
		fields[2 * n] = "CorrelationId";
		fields[2 * n++ + 1] = context->correlation_id;
		if (context->subject[0])
		{
			fields[2 * n] = context->is_message ? "MessageType" : "Route";
			fields[2 * n++ + 1] = context->subject;
		}
	}
	while (n < MAX_FIELDS && (name = va_arg(arguments, const char *)) != NULL)
	{
		fields[2 * n] = name;
		fields[2 * n++ + 1] = va_arg(arguments, const char *);
	}
	return n;
}

static void
add_line(Text *line, const LogRecord *record, const char *template)
{
	time_t		seconds = (time_t) (record->time_ns / 1000000000u);
	struct tm	utc;
	char		stamp[32];

	gmtime_r(&seconds, &utc);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &utc);
	text_format(line, "{\"@t\":\"%s.%06uZ\",\"@mt\":", stamp,
				(unsigned) (record->time_ns % 1000000000u / 1000u));
	text_json(line, template);
	text_add(line, ",\"@m\":");
	text_json(line, record->message);
	if (record->level != LEVEL_INFORMATION)
		text_format(line, ",\"@l\":\"%s\"", level_names[record->level]);
	if (record->context && record->context->trace_id[0])
		text_format(line, ",\"@tr\":\"%s\",\"@sp\":\"%s\"", record->context->trace_id,
					record->context->span_id);
	text_add(line, ",\"Service\":");
	text_json(line, logger.service ? logger.service : "");
	for (int i = 0; i < record->nfields; i++)
	{
		text_add(line, ",");
		text_json(line, record->fields[2 * i]);
		text_add(line, ":");
		text_json(line, record->fields[2 * i + 1]);
	}
	text_add(line, "}\n");
}

/* The template with {Name} replaced by the field's value. */
static void
render(Text *target, const char *template, const char *const *fields, int nfields)
{
	const char *at = template;

	while (*at)
	{
		size_t		plain = strcspn(at, "{");
		const char *end;

		text_add_n(target, at, plain);
		at += plain;
		end = strchr(at, '}');
		if (*at == '\0' || end == NULL)
			break;
		for (int i = 0; i < nfields; i++)
		{
			size_t		length = strlen(fields[2 * i]);

			if (length == (size_t) (end - at - 1) && strncmp(at + 1, fields[2 * i], length) == 0)
			{
				text_add(target, fields[2 * i + 1] ? fields[2 * i + 1] : "null");
				break;
			}
		}
		at = end + 1;
	}
	text_add(target, at);
}
