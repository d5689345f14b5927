/*
 * card_number.c
 *		Whether a text holds a card number, and what a kind of payment is called.
 *
 * Events cannot be changed, so a card number must be found before it is stored.
 * A number of a card has 12 to 19 digits, the last of which makes the sum of
 * Luhn's algorithm (ISO/IEC 7812-1) a multiple of ten.  People write it in
 * groups: what stands between digits and is neither letter nor digit does not
 * count, and neither does a single letter between two groups of four.
 */
#include "postgres.h"

#include "fmgr.h"

#include "base/compat.h"

#define SHORTEST 12
#define LONGEST 19
#define GROUP 4
#define LONGEST_TYPE 50
#define MOST_TYPE_DIGITS 2

static bool is_digit(unsigned char c);
static bool is_letter(unsigned char c);
static bool between_groups(const char *bytes, int length, int at);
static bool ends_card_number(const unsigned char *digits, int n);

/* Whether some digits of the text, in a row, are a card number. */
static bool
holds_card_number(const char *bytes, int length)
{
	/* the last digits, newest at the end; one more than can count at a time */
	unsigned char digits[2 * LONGEST];
	int			n = 0;

	for (int i = 0; i < length; i++)
	{
		if (is_digit(bytes[i]))
		{
			if (n == lengthof(digits))
			{
				memmove(digits, digits + LONGEST, LONGEST);
				n = LONGEST;
			}
			digits[n++] = bytes[i] - '0';
			if (ends_card_number(digits, n))
				return true;
		}
		else if (is_letter(bytes[i]) && !between_groups(bytes, length, i))
			n = 0;
	}
	return false;
}

static bool
is_digit(unsigned char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_letter(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Whether the letter there has a group of digits on either side. */
static bool
between_groups(const char *bytes, int length, int at)
{
	if (at < GROUP || at + GROUP >= length)
		return false;
	for (int i = 1; i <= GROUP; i++)
		if (!is_digit(bytes[at - i]) || !is_digit(bytes[at + i]))
			return false;
	return true;
}

/* Whether the last 12 to 19 of these digits satisfy Luhn's algorithm. */
static bool
ends_card_number(const unsigned char *digits, int n)
{
	int			sum = 0;

	for (int taken = 1; taken <= LONGEST && taken <= n; taken++)
	{
		int			digit = digits[n - taken];

		/* every second from the right counts twice, its digits added up */
		if (taken % 2 == 0)
			digit = digit > 4 ? 2 * digit - 9 : 2 * digit;
		sum += digit;
		if (taken >= SHORTEST && sum % 10 == 0)
			return true;
	}
	return false;
}

/* Letters, "_" and "-", from a letter on; at the end there may be two digits, as in "p24". */
static bool
is_payment_type(const char *bytes, int length)
{
	int			digits = 0;

	if (length == 0 || length > LONGEST_TYPE || !is_letter(bytes[0]))
		return false;
	for (int i = 0; i < length; i++)
	{
		if (is_digit(bytes[i]))
			digits++;
		else if (digits > 0 || (!is_letter(bytes[i]) && bytes[i] != '_' && bytes[i] != '-'))
			return false;
	}
	return digits <= MOST_TYPE_DIGITS;
}

PG_FUNCTION_INFO_V1(ecommerce_holds_card_number);
PG_FUNCTION_INFO_V1(ecommerce_is_payment_type);

/* ecommerce.holds_card_number(value text) RETURNS boolean */
Datum
ecommerce_holds_card_number(PG_FUNCTION_ARGS)
{
	text	   *value = PG_GETARG_TEXT_PP(0);

	PG_RETURN_BOOL(holds_card_number(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)));
}

/* ecommerce.is_payment_type(value text) RETURNS boolean */
Datum
ecommerce_is_payment_type(PG_FUNCTION_ARGS)
{
	text	   *value = PG_GETARG_TEXT_PP(0);

	PG_RETURN_BOOL(is_payment_type(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)));
}
