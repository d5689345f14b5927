/*
 * daemon.c
 *		The program that fuzzes what the daemons read: FUZZ_TARGET says which target.
 *
 * Everything in it is the daemons' own, with sanitizers, but for what would need
 * somebody else to answer: that is the target's to say.
 */
#include "fuzz/daemon.h"

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/text.h"

static const struct
{
	const char *name;
	void		(*start) (void);
	void		(*run) (const char *data, size_t size);
}			targets[] = {
	{"http", fuzz_http_start, fuzz_http},
	{"provider", fuzz_provider_start, fuzz_provider},
	{"telemetry", fuzz_telemetry_start, fuzz_telemetry},
	{"options", fuzz_options_start, fuzz_options},
};

/* What comes in place of a number or a word. */
static const char *const words[] = {
	"0", "1", "-1", "2", "99", "101", "150", "200", "401", "409", "429", "503", "503?", "4200",
	"60001", "99999999999999999999", "true", "false", "null", "on", "off", "unsent", "5min", "1h",
	"", "name", "count", "pause", "captured", "refunded", "succeeded", "failed", "usd",
	"{Value}", "%0a", "\xc3", "\n--\n", "a/../b"
};

FuzzOutcall fuzz_outcall = NULL;
static size_t current = 0;

int			LLVMFuzzerInitialize(int *argc, char ***argv);
int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t		LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
									unsigned int seed);
size_t		LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
void		__wrap_outcall_send(OutTarget *target, const OutRequest *request, OutDone done,
								void *argument);

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *name = getenv("FUZZ_TARGET");

	(void) argc;
	(void) argv;
	for (current = 0; current < lengthof(targets); current++)
		if (name && strcmp(name, targets[current].name) == 0)
		{
			targets[current].start();
			return 0;
		}
	fprintf(stderr, "FUZZ_TARGET names no target\n");
	exit(2);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	targets[current].run((const char *) data, size);
	return 0;
}

/*
 * What libFuzzer calls to change an input in place: half of the time a number or a word
 * of it becomes another one, since bytes that are changed anywhere mostly say nothing.
 */
size_t
LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	const char *word = words[seed / 2 % lengthof(words)];
	size_t		length = strlen(word);
	size_t		start = size > 0 ? seed / 2 / lengthof(words) % size : 0;
	size_t		end;

	if (seed % 2 == 0)
		return LLVMFuzzerMutate(data, size, max_size);
	while (start < size && !isalnum(data[start]))
		start++;
	while (start > 0 && isalnum(data[start - 1]))
		start--;
	for (end = start; end < size && isalnum(data[end]); end++)
		;
	if (size - (end - start) + length > max_size)
		return LLVMFuzzerMutate(data, size, max_size);
	memmove(data + start + length, data + end, size - end);
	memcpy(data + start, word, length);
	return size - (end - start) + length;
}

/* In place of the calls to the outside. */
void
__wrap_outcall_send(OutTarget *target, const OutRequest *request, OutDone done, void *argument)
{
	(void) target;
	fuzz_outcall(request, done, argument);
}

/* Ends the program, so that libFuzzer keeps the input. */
void
fuzz_stop(const char *what)
{
	fprintf(stderr, "==FAULT== %s\n", what);
	abort();
}

/* Cuts a text into its parts, in place.  Returns how many there are. */
int
fuzz_split(char *text, char **parts)
{
	int			count = 0;

	while (text)
	{
		char	   *end = count < FUZZ_MAX_PARTS - 1 ? strstr(text, FUZZ_SEPARATOR) : NULL;

		parts[count++] = text;
		if (end)
			*end = '\0';
		text = end ? end + strlen(FUZZ_SEPARATOR) : NULL;
	}
	return count;
}

/*
 * Reads an answer: "200" or "200?", when an earlier attempt may have arrived, and
 * its body from the next line on; "unsent"; anything else is no answer.
 */
void
fuzz_reply(const char *part, OutReply *reply)
{
	char	   *end = NULL;

	*reply = (OutReply) {.result = OUT_UNKNOWN, .body = "", .error = "broken"};
	if (strncmp(part, "unsent", 6) == 0)
		reply->result = OUT_NOT_SENT;
	reply->status = strtol(part, &end, 10);
	if (end == part || reply->status < 100 || reply->status > 599)
	{
		reply->status = 0;
		return;
	}
	reply->result = OUT_ANSWERED;
	reply->doubtful = *end == '?';
	reply->error = "";
	end = strchr(end, '\n');
	reply->body = end ? end + 1 : "";
	reply->body_length = strlen(reply->body);
}
