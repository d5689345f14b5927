/*
 * text.h
 *		Growing strings, and allocation that cannot fail.
 *
 * A daemon that is out of memory has nothing sensible left to do: the helpers
 * here report it and abort, and the supervisor starts the daemon again.
 * Nothing is lost, since all state is in the database.
 */
#ifndef SERVICES_LIB_TEXT_H
#define SERVICES_LIB_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A string that grows.  data is always terminated once anything was added. */
typedef struct Text
{
	char	   *data;
	size_t		length;
	size_t		capacity;
} Text;

#define lengthof(array) (sizeof(array) / sizeof((array)[0]))

void	   *memory_zero(size_t count, size_t size);
char	   *memory_string(const char *source);
char	   *memory_string_n(const char *source, size_t length);

void		text_add(Text *text, const char *string);
void		text_add_n(Text *text, const char *bytes, size_t length);
void		text_format(Text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void		text_json(Text *text, const char *string);
const char *text_value(const Text *text);
void		text_reset(Text *text);
void		text_free(Text *text);
char	   *text_take(Text *text);

/* Copies with truncation; the target is always terminated. */
void		copy_string(char *target, size_t size, const char *source);

size_t		utf8_length(const char *string);
bool		utf8_valid(const char *string);
void		utf8_repair(char *string);

#endif
