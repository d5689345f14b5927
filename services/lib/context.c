/*
 * context.c
 *		The correlation context, W3C trace context, random identifiers, clocks.
 */
#include "lib/context.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "lib/text.h"

static void random_bytes(unsigned char *target, size_t length);
static void random_hex(char *target, size_t digits);
static bool all_hex(const char *string, size_t length);
static bool all_zero(const char *string, size_t length);

/*
 * Fills a context from what came in: a correlation id that is no UUID is
 * replaced by a new one, a traceparent that does not follow the W3C
 * recommendation starts a new trace.
 */
void
context_start(Context *context, const char *correlation_id, const char *traceparent)
{
	memset(context, 0, sizeof(*context));
	context->sampled = true;
	if (correlation_id && uuid_valid(correlation_id))
		copy_string(context->correlation_id, sizeof(context->correlation_id), correlation_id);
	else
		uuid_make(context->correlation_id);

	/* version "-" trace id "-" parent id "-" flags; later versions may be longer */
	if (traceparent && strlen(traceparent) >= 55 && all_hex(traceparent, 2) &&
		memcmp(traceparent, "ff", 2) != 0 && traceparent[2] == '-' &&
		all_hex(traceparent + 3, TRACE_ID_LENGTH) && !all_zero(traceparent + 3, TRACE_ID_LENGTH) &&
		traceparent[35] == '-' && all_hex(traceparent + 36, SPAN_ID_LENGTH) &&
		!all_zero(traceparent + 36, SPAN_ID_LENGTH) && traceparent[52] == '-' &&
		all_hex(traceparent + 53, 2) &&
		(traceparent[55] == '\0' || (memcmp(traceparent, "00", 2) != 0 && traceparent[55] == '-')))
	{
		memcpy(context->trace_id, traceparent + 3, TRACE_ID_LENGTH);
		memcpy(context->parent_span_id, traceparent + 36, SPAN_ID_LENGTH);
		context->sampled = strtol(traceparent + 53, NULL, 16) & 1;
	}
	else
		random_hex(context->trace_id, TRACE_ID_LENGTH);
	random_hex(context->span_id, SPAN_ID_LENGTH);
}

/* The same request one level down: a new span whose parent is the given one. */
void
context_child(Context *child, const Context *parent)
{
	*child = *parent;
	memcpy(child->parent_span_id, parent->span_id, sizeof(child->parent_span_id));
	random_hex(child->span_id, SPAN_ID_LENGTH);
}

void
context_traceparent(const Context *context, char target[56])
{
	snprintf(target, 56, "00-%s-%s-%02x", context->trace_id, context->span_id,
			 context->sampled ? 1u : 0u);
}

/* Whether this is a UUID in its usual form, 8-4-4-4-12 hex digits. */
bool
uuid_valid(const char *string)
{
	if (strlen(string) != UUID_LENGTH)
		return false;
	for (int i = 0; i < UUID_LENGTH; i++)
	{
		bool		dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? string[i] != '-' : !isxdigit((unsigned char) string[i]))
			return false;
	}
	return true;
}

/* A random (version 4) UUID. */
void
uuid_make(char target[UUID_LENGTH + 1])
{
	unsigned char b[16];

	random_bytes(b, sizeof(b));
	b[6] = (unsigned char) ((b[6] & 0x0f) | 0x40);
	b[8] = (unsigned char) ((b[8] & 0x3f) | 0x80);
	snprintf(target, UUID_LENGTH + 1,
			 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
			 b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11],
			 b[12], b[13], b[14], b[15]);
}

/* Uniform in [0, 1): for jitter, so that daemons do not reconnect in step. */
double
random_fraction(void)
{
	uint32_t	value;

	random_bytes((unsigned char *) &value, sizeof(value));
	return value / 4294967296.0;
}

/* Nanoseconds since 1970. */
uint64_t
clock_wall_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t) now.tv_sec * 1000000000u + (uint64_t) now.tv_nsec;
}

/* Milliseconds on a clock that nobody sets; for durations and deadlines. */
uint64_t
clock_steady_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t) now.tv_sec * 1000u + (uint64_t) now.tv_nsec / 1000000u;
}

/*
 * Random bytes from the kernel, taken in blocks: a system call per identifier
 * would cost more than all the rest of a log line.
 */
static void
random_bytes(unsigned char *target, size_t length)
{
	static unsigned char pool[256];
	static size_t used = sizeof(pool);

	if (used + length > sizeof(pool))
	{
		/* up to 256 bytes are never cut short by a signal, see getrandom(2) */
		if (getrandom(pool, sizeof(pool), 0) != (ssize_t) sizeof(pool))
			abort();
		used = 0;
	}
	memcpy(target, pool + used, length);
	memset(pool + used, 0, length);
	used += length;
}

static void
random_hex(char *target, size_t digits)
{
	unsigned char bytes[16];

	do
	{
		random_bytes(bytes, digits / 2);
		for (size_t i = 0; i < digits / 2; i++)
			snprintf(target + 2 * i, 3, "%02x", bytes[i]);
	} while (all_zero(target, digits));
}

static bool
all_hex(const char *string, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (!isdigit((unsigned char) string[i]) && !(string[i] >= 'a' && string[i] <= 'f'))
			return false;
	return true;
}

static bool
all_zero(const char *string, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (string[i] != '0')
			return false;
	return true;
}
