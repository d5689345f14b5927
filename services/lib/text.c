/*
 * text.c
 *		Growing strings, and allocation that cannot fail.
 */
#include "lib/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void out_of_memory(void) __attribute__((noreturn));
static void text_reserve(Text *text, size_t more);

/* Zeroed memory for count objects; never NULL. */
void *
memory_zero(size_t count, size_t size)
{
	void	   *memory = calloc(count ? count : 1, size ? size : 1);

	if (memory == NULL)
		out_of_memory();
	return memory;
}

/* A copy of the string, or NULL of NULL; the caller frees it. */
char *
memory_string(const char *source)
{
	return source ? memory_string_n(source, strlen(source)) : NULL;
}

/* A terminated copy of length bytes; the caller frees it. */
char *
memory_string_n(const char *source, size_t length)
{
	char	   *copy = memory_zero(length + 1, 1);

	memcpy(copy, source, length);
	return copy;
}

void
text_add(Text *text, const char *string)
{
	text_add_n(text, string, strlen(string));
}

void
text_add_n(Text *text, const char *bytes, size_t length)
{
	text_reserve(text, length);
	if (length > 0)
		memcpy(text->data + text->length, bytes, length);
	text->length += length;
	text->data[text->length] = '\0';
}

void
text_format(Text *text, const char *format, ...)
{
	va_list		arguments;
	int			length;

	va_start(arguments, format);
	length = vsnprintf(NULL, 0, format, arguments);
	va_end(arguments);
	if (length < 0)
		return;
	text_reserve(text, (size_t) length);
	va_start(arguments, format);
	vsnprintf(text->data + text->length, (size_t) length + 1, format, arguments);
	va_end(arguments);
	text->length += (size_t) length;
}

/*
 * Adds the string as a JSON string, in quotes; NULL becomes null.  What is no
 * UTF-8 becomes U+FFFD, since strings of clients and providers come here.
 */
void
text_json(Text *text, const char *string)
{
	if (string == NULL)
	{
		text_add(text, "null");
		return;
	}
	text_add_n(text, "\"", 1);
	for (const char *c = string; *c;)
	{
		size_t		length = utf8_length(c);

		if (length == 0)
			text_add(text, "\\ufffd");
		else if (*c == '"' || *c == '\\')
			text_format(text, "\\%c", *c);
		else if (*c == '\n')
			text_add(text, "\\n");
		else if ((unsigned char) *c < ' ')
			text_format(text, "\\u%04x", (unsigned) (unsigned char) *c);
		else
			text_add_n(text, c, length);
		c += length ? length : 1;
	}
	text_add_n(text, "\"", 1);
}

/* The string so far, "" if nothing was added. */
const char *
text_value(const Text *text)
{
	return text->data ? text->data : "";
}

/* Empties the string and keeps its memory. */
void
text_reset(Text *text)
{
	text->length = 0;
	if (text->data)
		text->data[0] = '\0';
}

void
text_free(Text *text)
{
	free(text->data);
	memset(text, 0, sizeof(*text));
}

/* Hands the string over; the caller frees it, the text is empty again. */
char *
text_take(Text *text)
{
	char	   *data = text->data ? text->data : memory_string("");

	memset(text, 0, sizeof(*text));
	return data;
}

/* Cuts before a character that would not fit whole. */
void
copy_string(char *target, size_t size, const char *source)
{
	size_t		length = strlen(source);

	if (length >= size)
	{
		length = size - 1;
		while (length > 0 && ((unsigned char) source[length] & 0xc0) == 0x80)
			length--;
	}
	memcpy(target, source, length);
	target[length] = '\0';
}

/*
 * Bytes of the UTF-8 character at the beginning of the string, 0 if there is
 * none: overlong forms, surrogates and what is beyond U+10FFFF are none.
 */
size_t
utf8_length(const char *string)
{
	const unsigned char *c = (const unsigned char *) string;
	size_t		length = c[0] < 0x80 ? 1 : c[0] < 0xc2 ? 0
									   : c[0] < 0xe0   ? 2
									   : c[0] < 0xf0   ? 3
									   : c[0] < 0xf5   ? 4
													   : 0;

	for (size_t i = 1; i < length; i++)
		if ((c[i] & 0xc0) != 0x80)
			return 0;
	if ((c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xed && c[1] > 0x9f) ||
		(c[0] == 0xf0 && c[1] < 0x90) || (c[0] == 0xf4 && c[1] > 0x8f))
		return 0;
	return length;
}

bool
utf8_valid(const char *string)
{
	for (size_t length; *string; string += length)
		if ((length = utf8_length(string)) == 0)
			return false;
	return true;
}

/* Puts a question mark for each byte that is no UTF-8. */
void
utf8_repair(char *string)
{
	for (size_t length; *string; string += length ? length : 1)
		if ((length = utf8_length(string)) == 0)
			*string = '?';
}

static void
text_reserve(Text *text, size_t more)
{
	size_t		needed = text->length + more + 1;
	size_t		capacity = text->capacity ? text->capacity : 128;
	char	   *data;

	if (needed <= text->capacity)
		return;
	while (capacity < needed)
		capacity *= 2;
	data = realloc(text->data, capacity);
	if (data == NULL)
		out_of_memory();
	text->data = data;
	text->capacity = capacity;
}

static void
out_of_memory(void)
{
	fputs("out of memory\n", stderr);
	abort();
}
