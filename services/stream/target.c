/*
 * target.c
 *		The kinds of targets there are.
 */
#include "stream/target.h"

#include <string.h>

#include "lib/text.h"

static const TargetKind *const kinds[] = {&target_kafka, &target_jetstream};

const TargetKind *
target_kind(const char *name)
{
	for (size_t i = 0; i < lengthof(kinds); i++)
		if (strcmp(kinds[i]->name, name) == 0)
			return kinds[i];
	return NULL;
}

/* The database has filled in what was left out. */
const char *
target_option(const TargetOptions *options, const char *name)
{
	return event_text(options->options, name);
}
