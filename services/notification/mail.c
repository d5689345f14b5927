/*
 * mail.c
 *		A mail message in the form that SMTP carries: headers and an HTML body,
 *		both encoded so that no value can add a header or end the message.
 */
#include "notification/mail.h"

#include <ctype.h>
#include <string.h>
#include <time.h>

#define LINE_BYTES 57			/* 76 characters of base64 */
#define WORD_BYTES 42			/* an encoded word is at most 75 characters */

static void add_base64(Text *target, const char *bytes, size_t length);
static void add_encoded_header(Text *target, const char *name, const char *value);

/* Good enough for SMTP commands: one @, no white space, control characters or <>. */
bool
mail_address_valid(const char *address)
{
	const char *at = strchr(address, '@');

	if (at == NULL || at == address || at[1] == '\0' || strchr(at + 1, '@') ||
		strlen(address) > 254)
		return false;
	for (const char *c = address; *c; c++)
		if (!isgraph((unsigned char) *c) || strchr("<>,;\"()", *c))
			return false;
	return true;
}

void
mail_write(Text *target, const Mail *mail)
{
	time_t		seconds = mail->date;
	struct tm	utc;
	char		date[64];

	gmtime_r(&seconds, &utc);
	strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S +0000", &utc);
	text_format(target, "Date: %s\r\nFrom: <%s>\r\nTo: <%s>\r\nMessage-ID: <%s>\r\n", date,
				mail->from, mail->to, mail->message_id);
	add_encoded_header(target, "Subject", mail->subject);
	text_add(target, "MIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n"
			 "Content-Transfer-Encoding: base64\r\nAuto-Submitted: auto-generated\r\n\r\n");
	for (size_t at = 0, length = strlen(mail->html); at < length; at += LINE_BYTES)
	{
		add_base64(target, mail->html + at, length - at < LINE_BYTES ? length - at : LINE_BYTES);
		text_add(target, "\r\n");
	}
}

/* As RFC 2047 encoded words, whatever the value; cut between characters. */
static void
add_encoded_header(Text *target, const char *name, const char *value)
{
	size_t		length = strlen(value);
	const char *separator = " ";

	text_format(target, "%s:", name);
	for (size_t at = 0; at < length;)
	{
		size_t		n = length - at < WORD_BYTES ? length - at : WORD_BYTES;

		while (at + n < length && n > 1 && ((unsigned char) value[at + n] & 0xc0) == 0x80)
			n--;
		text_format(target, "%s=?utf-8?B?", separator);
		add_base64(target, value + at, n);
		text_add(target, "?=");
		separator = "\r\n ";
		at += n;
	}
	text_add(target, "\r\n");
}

static void
add_base64(Text *target, const char *bytes, size_t length)
{
	static const char digits[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < length; i += 3)
	{
		uint32_t	group = 0;
		char		out[4];

		for (size_t j = 0; j < 3; j++)
			group = group << 8 | (i + j < length ? (unsigned char) bytes[i + j] : 0);
		for (int j = 0; j < 4; j++)
			out[j] = digits[group >> (18 - 6 * j) & 0x3f];
		if (i + 1 >= length)
			out[2] = '=';
		if (i + 2 >= length)
			out[3] = '=';
		text_add_n(target, out, 4);
	}
}
