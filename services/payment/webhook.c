/*
 * webhook.c
 *		Whether a webhook was signed by the provider, as Stripe signs them.
 *
 * The header is "t=TIME,v1=HEX[,v1=HEX...]"; HEX is HMAC-SHA256 of "TIME.BODY"
 * with the endpoint's secret.  While a secret is being replaced there are two
 * of them.  A signature older than five minutes is a replay.
 */
#include "payment/webhook.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/text.h"

#define TOLERANCE_SECONDS 300
#define HEX_LENGTH 64

/* Compares in constant time.  now is in seconds since 1970. */
bool
webhook_signature_valid(const char *header, const char *body, size_t length, const char *secret,
						long now)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned	digest_length = 0;
	char		expected[HEX_LENGTH + 1];
	const char *stamp = strstr(header, "t=");
	Text		signed_text = {0};
	char	   *end;
	long		at;
	bool		valid = false;

	if (stamp == NULL || (stamp != header && stamp[-1] != ','))
		return false;
	at = strtol(stamp + 2, &end, 10);
	if (end == stamp + 2 || (*end != ',' && *end != '\0') || at < now - TOLERANCE_SECONDS ||
		at > now + TOLERANCE_SECONDS)
		return false;
	text_format(&signed_text, "%ld.", at);
	text_add_n(&signed_text, body, length);
	HMAC(EVP_sha256(), secret, (int) strlen(secret), (const unsigned char *) signed_text.data,
		 signed_text.length, digest, &digest_length);
	text_free(&signed_text);
	for (unsigned i = 0; i < HEX_LENGTH / 2; i++)
		snprintf(expected + 2 * i, 3, "%02x", digest[i]);

	for (const char *v1 = strstr(header, "v1="); v1; v1 = strstr(v1 + 3, "v1="))
		if (strcspn(v1 + 3, ",") == HEX_LENGTH && CRYPTO_memcmp(v1 + 3, expected, HEX_LENGTH) == 0)
			valid = true;
	return valid;
}
