/*
 * log.h
 *		Structured logs: one JSON object a line, in CLEF (compact log event
 *		format), as Seq reads it.
 *
 * A line has @t (UTC), @mt (message template), @m (the template filled in, for
 * people and grep), @l (level, absent when Information), @tr and @sp (trace and
 * span), Service, and within a request or message CorrelationId and MessageType
 * or Route; then the fields given.
 */
#ifndef SERVICES_LIB_LOG_H
#define SERVICES_LIB_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/context.h"

typedef enum LogLevel
{
	LEVEL_DEBUG,
	LEVEL_INFORMATION,
	LEVEL_WARNING,
	LEVEL_ERROR,
	LEVEL_FATAL
} LogLevel;

/* What a log line consists of, for sinks besides the file. */
typedef struct LogRecord
{
	uint64_t	time_ns;
	LogLevel	level;
	const Context *context;		/* NULL outside requests and messages */
	const char *message;		/* the template with its fields filled in */
	const char *const *fields;	/* name, value, name, value ... */
	int			nfields;		/* pairs */
} LogRecord;

typedef void (*LogSink) (const LogRecord *record);

bool		log_open(const char *service, const char *level, const char *file);
bool		log_reopen(void);
bool		log_set_level(const char *level);
void		log_set_sink(LogSink sink);
void		log_divert(LogSink sink);
void		log_close(void);
const char *log_level_name(LogLevel level);

/*
 * Writes a line.  After the template come pairs of strings, name and value,
 * ended by NULL; {Name} in the template stands for the value.  Values must not
 * hold card data, tokens or passwords.
 */
void		log_write(LogLevel level, const Context *context, const char *template, ...)
			__attribute__((sentinel));

#endif
