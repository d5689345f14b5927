/*
 * arrays.c
 *		Arrays in the form of text that PostgreSQL reads.
 */
#include "bridge/arrays.h"

#include <string.h>

static void separate(Text *array);

void
array_begin(Text *array)
{
	text_reset(array);
	text_add(array, "{");
}

static void
separate(Text *array)
{
	if (array->length > 1)
		text_add(array, ",");
}

void
array_add_number(Text *array, long long number)
{
	separate(array);
	text_format(array, "%lld", number);
}

/* A text, quoted. */
void
array_add_text(Text *array, const char *text)
{
	separate(array);
	text_add(array, "\"");
	while (*text)
	{
		size_t		plain = strcspn(text, "\"\\");

		text_add_n(array, text, plain);
		text += plain;
		if (*text == '\0')
			break;
		text_add(array, "\\");
		text_add_n(array, text++, 1);
	}
	text_add(array, "\"");
}

void
array_end(Text *array)
{
	text_add(array, "}");
}
