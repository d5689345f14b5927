/*
 * body.c
 *		The body of a request: its media type, its coding, its JSON.
 *
 * An integer beyond 64 bits is left to the SQL function, which can name its field.
 */
#include "lib/body.h"

#include <jansson.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

static bool is_json(const char *type);
static const char *what_is_wrong(const json_error_t *error);

/*
 * 0 when the body is a JSON object, else the status to refuse it with and why.
 * type and coding are the headers Content-Type and Content-Encoding, or NULL.
 */
int
body_refusal(const char *type, const char *coding, const char *body, size_t length, Text *detail)
{
	const size_t flags = JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL | JSON_DECODE_ANY;
	json_error_t error;
	json_t	   *json;
	bool		is_object;

	if (type && !is_json(type))
	{
		text_add(detail, "the body must be application/json");
		return 415;
	}
	if (coding && strcasecmp(coding, "identity") != 0)
	{
		text_add(detail, "the body must come as it is, without Content-Encoding");
		return 415;
	}
	json = json_loadb(body, length, flags, &error);
	is_object = json_is_object(json);
	if (json && !is_object)
		text_add(detail, "the body must be a JSON object");
	else if (json == NULL)
		text_format(detail, "malformed JSON in line %d, column %d: %s", error.line, error.column,
					what_is_wrong(&error));
	json_decref(json);
	return is_object ? 0 : 400;
}

/* Whether the media type is application/json, with or without parameters. */
static bool
is_json(const char *type)
{
	static const char json[] = "application/json";

	if (strncasecmp(type, json, sizeof(json) - 1) != 0)
		return false;
	type += sizeof(json) - 1;
	type += strspn(type, " \t");
	return *type == '\0' || *type == ';';
}

/* In words for whoever wrote the body, where the parser has words for who calls it. */
static const char *
what_is_wrong(const json_error_t *error)
{
	switch (json_error_code(error))
	{
		case json_error_null_character:
		case json_error_null_byte_in_key:
			return "text may not contain the character U+0000";
		case json_error_numeric_overflow:
			return "the number is too large";
		case json_error_invalid_utf8:
			return "this is not UTF-8";
		case json_error_premature_end_of_input:
			return "it ends too early";
		default:
			return error->text;
	}
}
