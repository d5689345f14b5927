/*
 * provider.c
 *		Fuzz target of what a payment provider answers: whatever it says, a piece of
 *		work is settled once, and with nothing that was not said.
 *
 * Input: what is to be done, "charge", "query", "cancelled" (a query about a payment
 * that nobody wants any more), "refund ID" of a charge or "follow ID" of a refund; then
 * the answers, one after the other.  When they have run out there is none.
 */
#include "fuzz/daemon.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/text.h"
#include "payment/stripe.h"

#define BASE_URL "http://provider.invalid"
#define MOST_REQUESTS 8

static const char *const results[] = {
	"captured", "declined", "disputed", "not_found", "not_sent", "pending", "refund_failed",
	"refund_pending", "refunded", "unknown"
};

static struct
{
	char	   *parts[FUZZ_MAX_PARTS];
	int			count;
	int			next;			/* the answer that comes next */
	int			requests;
	int			settled;
	OutDone		done;			/* of the request that waits for its answer */
	void	   *argument;
	OutReply	reply;			/* the last one */
	bool		accepted;		/* some request was */
	bool		took_money;		/* so the last answer says of a charge */
} provider;

void		__wrap_work_settle(WorkItem *item, const char *outcome);

void
fuzz_provider_start(void)
{
	(void) log_open("fuzz", "Fatal", "/dev/null");
	if (!stripe_start(BASE_URL, "sk_test", 1000))
		abort();
}

/* Whether the text is an id of the provider's and nothing else. */
static bool
is_id(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (!isalnum((unsigned char) text[i]) && text[i] != '_' && text[i] != '-')
			return false;
	return length > 0;
}

/* Whether only what we mean to ask for is asked for. */
static bool
is_ours(const char *url)
{
	static const char *const kinds[] = {"/v1/charges", "/v1/refunds"};
	const char *end;

	if (strncmp(url, BASE_URL, strlen(BASE_URL)) != 0)
		return false;
	url += strlen(BASE_URL);
	for (size_t i = 0; i < lengthof(kinds); i++)
	{
		if (strncmp(url, kinds[i], strlen(kinds[i])) != 0)
			continue;
		url += strlen(kinds[i]);
		if (*url == '\0' || strncmp(url, "?limit=100&transfer_group=", 26) == 0)
			return true;
		end = url + strcspn(url, "?");
		if (end - url > 8 && strncmp(end - 8, "/capture", 8) == 0)
			end -= 8;
		return *url == '/' && end[strcspn(end, "?")] == '\0' &&
			is_id(url + 1, (size_t) (end - url - 1));
	}
	return false;
}

static void
on_request(const OutRequest *request, OutDone done, void *argument)
{
	if (!is_ours(request->url))
		fuzz_stop("a request goes where the provider has led it");
	for (int i = 0; request->headers[i]; i++)
		if (request->headers[i][strcspn(request->headers[i], "\r\n")])
			fuzz_stop("a header ends before its end");
	if (provider.done)
		fuzz_stop("two requests of one piece of work are under way");
	if (++provider.requests > MOST_REQUESTS)
		fuzz_stop("a piece of work has no end");
	provider.done = done;
	provider.argument = argument;
}

/* Whether a charge whose money was taken stands anywhere in the answer. */
static bool
says_captured(const json_t *json)
{
	const char *key;
	json_t	   *value;
	size_t		i;

	json_object_foreach((json_t *) json, key, value)
		if ((strcmp(key, "captured") == 0 && json_is_true(value)) || says_captured(value))
			return true;
	json_array_foreach(json, i, value)
		if (says_captured(value))
			return true;
	return false;
}

static void
answer(void)
{
	OutDone		done = provider.done;
	json_t	   *body;

	provider.done = NULL;
	fuzz_reply(provider.next < provider.count ? provider.parts[provider.next++] : "",
			   &provider.reply);
	body = json_loadb(provider.reply.body, provider.reply.body_length, 0, NULL);
	provider.took_money = says_captured(body);
	json_decref(body);
	done(provider.argument, &provider.reply);
	provider.accepted |= provider.reply.result == OUT_ANSWERED && provider.reply.status < 400;
}

/* In place of the loop's, which would tell the database. */
void
__wrap_work_settle(WorkItem *item, const char *outcome)
{
	json_t	   *json = outcome ? json_loads(outcome, 0, NULL) : NULL;
	const char *result = json_string_value(json_object_get(json, "result"));
	bool		known = false;

	(void) item;
	provider.settled++;
	for (size_t i = 0; result && i < lengthof(results); i++)
		known |= strcmp(result, results[i]) == 0;
	if (!known)
		fuzz_stop("an outcome is none");
	if (strcmp(result, "captured") == 0 && !provider.took_money)
		fuzz_stop("money is taken that the provider says nothing of");
	if (strcmp(result, "not_sent") == 0 &&
		(provider.accepted || provider.reply.result == OUT_UNKNOWN || provider.reply.doubtful))
		fuzz_stop("nothing was sent, although something may have been");
	if ((strcmp(result, "declined") == 0 || strcmp(result, "refund_failed") == 0) &&
		provider.reply.result != OUT_ANSWERED)
		fuzz_stop("no answer is taken for a no");
	json_decref(json);
}

void
fuzz_provider(const char *data, size_t size)
{
	char	   *text = memory_string_n(data, size);
	WorkItem	item = {.request = "{\"key\": \"5f8b\", \"order_id\": \"o\", \"token\": \"\","
		" \"currency\": \"USD\", \"amount\": 42.00, \"minor_amount\": 4200, \"charge_age\": 99999}"};
	Text		request = {0};
	const char *id;

	memset(&provider, 0, sizeof(provider));
	fuzz_outcall = on_request;
	provider.count = fuzz_split(text, provider.parts);
	provider.next = 1;
	id = strchr(provider.parts[0], ' ') ? strchr(provider.parts[0], ' ') + 1 : "ch_1";
	copy_string(item.operation, sizeof(item.operation), "query");
	if (strncmp(provider.parts[0], "charge", 6) == 0)
		copy_string(item.operation, sizeof(item.operation), "charge");
	else if (strncmp(provider.parts[0], "refund", 6) == 0 ||
			 strncmp(provider.parts[0], "follow", 6) == 0)
	{
		copy_string(item.operation, sizeof(item.operation), "refund");
		text_format(&request, "{\"key\": \"5f8b\", \"currency\": \"USD\", \"minor_amount\": 4200,"
					" \"is_cancelled\": true, \"refund_number\": 2, \"%s\": ",
					provider.parts[0][0] == 'f' ? "refund_id" : "transaction_id");
		text_json(&request, id);
		text_add(&request, "}");
		item.request = request.data;
	}
	else if (strncmp(provider.parts[0], "cancelled", 9) == 0)
		item.request = "{\"key\": \"5f8b\", \"currency\": \"USD\", \"minor_amount\": 4200,"
					   " \"is_cancelled\": true}";
	stripe_call(&item);
	while (provider.done)
		answer();
	if (provider.settled != 1)
		fuzz_stop("a piece of work is not settled once");
	text_free(&request);
	free(text);
}
