/*
 * options.c
 *		Fuzz target of a daemon's file of options: what is taken from it is what a
 *		reader would take, within its bounds, and reading it again changes nothing.
 */
#include "fuzz/daemon.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/config.h"
#include "lib/text.h"

static char *name;
static long count;
static long pause_ms;
static bool on;

static Option options[] = {
	{"name", OPTION_STRING, &name, "none", .reload = true, .help = ""},
	{"count", OPTION_INTEGER, &count, "5", 1, 100, .help = ""},
	{"pause", OPTION_DURATION, &pause_ms, "1s", 10, 60000, .reload = true, .help = ""},
	{"on", OPTION_BOOLEAN, &on, "off", .reload = true, .help = ""},
	{NULL}
};
static const OptionGroup groups[] = {{"Options", options}};

static int	file;
static char argument[64];
static FILE *nowhere;

void
fuzz_options_start(void)
{
	file = memfd_create("options", 0);
	nowhere = fopen("/dev/null", "w");
	if (file < 0 || nowhere == NULL)
		abort();
	snprintf(argument, sizeof(argument), "--config=/proc/self/fd/%d", file);
}

/*
 * The value of the last line about the option, or NULL; as a reader sees it, who
 * knows of no buffers.
 */
static char *
last_value(const char *text, const char *option)
{
	char	   *found = NULL;

	for (const char *line = text, *next; line; line = next)
	{
		size_t		length = strcspn(line, "\n");
		const char *equals;
		const char *end;

		next = line[length] ? line + length + 1 : NULL;
		while (length > 0 && strchr(" \t\r", *line))
			line++, length--;
		equals = memchr(line, '=', length);
		if (length == 0 || *line == '#' || equals == NULL)
			continue;
		for (end = equals; end > line && isspace((unsigned char) end[-1]); end--)
			;
		if ((size_t) (end - line) != strlen(option) || strncmp(line, option, end - line) != 0)
			continue;
		length -= (size_t) (equals + 1 - line);
		for (equals++; length > 0 && strchr(" \t", *equals); equals++)
			length--;
		while (length > 0 && isspace((unsigned char) equals[length - 1]))
			length--;
		free(found);
		found = memory_string_n(equals, length);
	}
	return found;
}

void
fuzz_options(const char *data, size_t size)
{
	char	   *text = memory_string_n(data, size);
	char	   *argv[] = {"fuzz", argument, NULL};
	char	   *expected;
	char	   *before;
	FILE	   *errors = stderr;

	size = strlen(text);
	if (ftruncate(file, 0) != 0 || pwrite(file, text, size, 0) != (ssize_t) size)
		abort();
	stderr = nowhere;
	if (config_load("fuzz", "1", groups, 1, 2, argv) == CONFIG_RUN)
	{
		bool		again;

		before = memory_string(name);
		again = config_reload();
		stderr = errors;
		expected = last_value(text, "name");
		if (!again || strcmp(before, name) != 0)
			fuzz_stop("a file read again means something else");
		if (strcmp(name, expected ? expected : "none") != 0)
			fuzz_stop("an option is not what the file says");
		if (count < 1 || count > 100 || pause_ms < 10 || pause_ms > 60000)
			fuzz_stop("a number is out of its bounds");
		free(expected);
		free(before);
	}
	stderr = errors;
	config_free();
	free(text);
}
