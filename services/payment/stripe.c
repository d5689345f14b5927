/*
 * stripe.c
 *		Stripe as payment provider, over its HTTP API (version 2020-08-27).
 *
 * A charge is an authorization and its capture, two requests with idempotency
 * keys made of the step key; repeating either changes nothing.  The step key
 * also goes into the charge's metadata and transfer_group, by which a charge
 * whose answer was lost is found again.  A refund is one request.
 *
 * What is told to work_settle is only what is certain: no answer after a
 * request that may have arrived is "unknown"; one that Stripe has not dealt with,
 * or that never left, is "not_sent" and made again: that is no decline.
 */
#include "payment/stripe.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/log.h"
#include "lib/outcall.h"
#include "lib/text.h"

/* A request that got lost may still arrive for this long. */
#define IN_FLIGHT_SECONDS 60

/* Attempts after the first, and the longest pauses before them together. */
#define RETRIES 2
#define RETRY_PAUSES_SECONDS 10

/*
 * Trips when half of the charges fail: then it is Stripe that is ill, and not
 * some of the cards.
 */
#define TRIP_PER_CENT 50

typedef struct StripeCall
{
	WorkItem   *item;
	json_t	   *request;
	char	   *charge;			/* id of the authorization */
	bool		was_refunded;	/* so Stripe says of a refund we asked for */
} StripeCall;

static struct
{
	char	   *base_url;
	char	   *authorization;
	OutTarget	target;
	long		in_flight;		/* seconds after which no request of a charge can arrive */
} stripe;

static void authorize(StripeCall *call);
static void on_authorized(void *argument, const OutReply *reply);
static void capture(StripeCall *call);
static void on_captured(void *argument, const OutReply *reply);
static void query(StripeCall *call);
static void on_listed(void *argument, const OutReply *reply);
static void judge_charge(StripeCall *call, const json_t *charge);
static bool is_whole(const StripeCall *call, const json_t *charge);
static void follow_refund(StripeCall *call, const char *refund_id);
static void refund(StripeCall *call, const char *charge, OutDone done);
static void on_refunded(void *argument, const OutReply *reply);
static void judge_refund(StripeCall *call, const json_t *refund);
static void refuse_refund(StripeCall *call, const OutReply *reply);
static const char *refund_of(const json_t *charge);
static bool is_id(const char *text);
static const char *id_of(const json_t *object);
static void on_released(void *argument, const OutReply *reply);
static void post(StripeCall *call, const char *path, const Text *form, const char *purpose,
				 OutDone done);
static void add_field(Text *form, const char *name, const char *value);
static const char *text_of(const StripeCall *call, const char *name);
static void get(StripeCall *call, const char *url, OutDone done);
static const char *error_code(const json_t *answer);
static bool is_passing(const char *code);
static bool not_dealt_with(const OutReply *reply);
static void settle_error(StripeCall *call, const OutReply *reply, const char *result);
static void settle(StripeCall *call, json_t *outcome);

/* Declines that another attempt may turn into a success. */
static const char *const passing_codes[] = {
	"issuer_not_available", "processing_error", "reenter_transaction", "try_again_later",
	"approve_with_id", "lock_timeout", "rate_limit"
};

/* base_url is https://api.stripe.com unless somebody stands in for it. */
bool
stripe_start(const char *base_url, const char *secret_key, long timeout_ms)
{
	Text		header = {0};

	if (secret_key[0] == '\0')
	{
		log_write(LEVEL_FATAL, NULL, "The stripe provider needs stripe-secret-key", NULL);
		return false;
	}
	stripe.base_url = memory_string(base_url);
	text_format(&header, "Authorization: Bearer %s", secret_key);
	stripe.authorization = text_take(&header);
	outcall_target_init(&stripe.target, "stripe", timeout_ms, RETRIES);
	stripe.target.breaker.policy.trip_threshold = TRIP_PER_CENT;
	/* authorization and capture, each with all its attempts */
	stripe.in_flight = IN_FLIGHT_SECONDS +
		2 * ((RETRIES + 1) * (timeout_ms / 1000 + 1) + RETRY_PAUSES_SECONDS);
	return true;
}

/* Does what the item asks: charge, query or refund. */
void
stripe_call(WorkItem *item)
{
	StripeCall *call = memory_zero(1, sizeof(*call));

	call->item = item;
	call->request = json_loads(item->request, 0, NULL);
	if (strcmp(item->operation, "charge") == 0)
		authorize(call);
	else if (strcmp(item->operation, "refund") == 0 && is_id(text_of(call, "refund_id")))
		follow_refund(call, text_of(call, "refund_id"));
	else if (strcmp(item->operation, "refund") == 0)
		refund(call, text_of(call, "transaction_id"), on_refunded);
	else
		query(call);
}

/* How many calls may be begun: none as long as Stripe is away. */
int
stripe_room(void)
{
	return breaker_room(&stripe.target.breaker, clock_steady_ms());
}

const char *
stripe_state(void)
{
	return stripe.target.breaker.state == BREAKER_CLOSED ? "ok" : "circuit breaker is open";
}

static void
authorize(StripeCall *call)
{
	const char *token = text_of(call, "token");
	Text		form = {0};
	char		amount[24];
	char		currency[8];

	snprintf(amount, sizeof(amount), "%lld",
			 (long long) json_integer_value(json_object_get(call->request, "minor_amount")));
	copy_string(currency, sizeof(currency), text_of(call, "currency"));
	for (char *c = currency; *c; c++)
		*c = (char) tolower((unsigned char) *c);
	add_field(&form, "amount", amount);
	add_field(&form, "currency", currency);
	add_field(&form, "source", token[0] ? token : "tok_visa");
	add_field(&form, "capture", "false");
	add_field(&form, "transfer_group", text_of(call, "key"));
	add_field(&form, "metadata[key]", text_of(call, "key"));
	add_field(&form, "metadata[order_id]", text_of(call, "order_id"));
	post(call, "/v1/charges", &form, "authorize", on_authorized);
	text_free(&form);
}

static void
on_authorized(void *argument, const OutReply *reply)
{
	StripeCall *call = argument;
	json_t	   *charge;

	if (reply->result != OUT_ANSWERED || reply->status >= 400)
	{
		settle_error(call, reply, "declined");
		return;
	}
	charge = json_loadb(reply->body, reply->body_length, 0, NULL);
	call->charge = memory_string(id_of(charge));
	json_decref(charge);
	if (call->charge)
		capture(call);
	else
		settle(call, json_pack("{s:s}", "result", "unknown"));
}

static void
capture(StripeCall *call)
{
	Text		path = {0};
	Text		form = {0};

	text_format(&path, "/v1/charges/%s/capture", call->charge);
	post(call, path.data, &form, "capture", on_captured);
	text_free(&path);
}

static void
on_captured(void *argument, const OutReply *reply)
{
	StripeCall *call = argument;
	json_t	   *charge = NULL;

	if (reply->result == OUT_ANSWERED && reply->status < 300)
		charge = json_loadb(reply->body, reply->body_length, 0, NULL);
	/* a failed capture leaves an authorization, which a query finds again */
	if (is_whole(call, charge))
		settle(call, json_pack("{s:s, s:s}", "result", "captured", "transaction_id",
							   call->charge));
	else
		settle(call, json_pack("{s:s}", "result", "unknown"));
	json_decref(charge);
}

/* Looks for the charge of this key among those of its transfer group. */
static void
query(StripeCall *call)
{
	Text		url = {0};

	text_format(&url, "%s/v1/charges?limit=100&transfer_group=%s", stripe.base_url,
				text_of(call, "key"));
	get(call, url.data, on_listed);
	text_free(&url);
}

static void
on_listed(void *argument, const OutReply *reply)
{
	StripeCall *call = argument;
	json_t	   *list = NULL;
	json_t	   *charge;
	size_t		i;

	if (reply->result == OUT_ANSWERED && reply->status == 200)
		list = json_loadb(reply->body, reply->body_length, 0, NULL);
	if (list == NULL)
	{
		if (call->was_refunded)
			judge_charge(call, NULL);
		else
			settle(call, json_pack("{s:s}", "result", "pending"));
		return;
	}
	json_array_foreach(json_object_get(list, "data"), i, charge)
	{
		const char *key = json_string_value(json_object_get(json_object_get(charge, "metadata"),
															"key"));

		if (key && strcmp(key, text_of(call, "key")) == 0)
		{
			judge_charge(call, charge);
			json_decref(list);
			return;
		}
	}
	json_decref(list);
	if (call->was_refunded)
	{
		judge_charge(call, NULL);
		return;
	}
	settle(call, json_pack("{s:s}", "result",
						   json_integer_value(json_object_get(call->request, "charge_age")) <
								   stripe.in_flight
							   ? "pending"
							   : "not_found"));
}

/*
 * What a charge that was found means for the payment.  NULL: it was not found,
 * but is known to be refunded.
 */
static void
judge_charge(StripeCall *call, const json_t *charge)
{
	const char *id = id_of(charge);
	const char *status = json_string_value(json_object_get(charge, "status"));
	bool		captured = json_is_true(json_object_get(charge, "captured"));

	if (call->was_refunded || (captured && json_is_true(json_object_get(charge, "refunded"))))
	{
		if (id == NULL)
			id = text_of(call, "transaction_id");
		settle(call, json_pack("{s:s, s:s, s:s}", "result", "refunded", "transaction_id", id,
							   "refund_id", refund_of(charge) ? refund_of(charge) : id));
	}
	else if (captured && json_is_true(json_object_get(charge, "disputed")))
		settle(call, json_pack("{s:s, s:s*, s:s*}", "result", "disputed", "transaction_id", id,
							   "dispute_id",
							   json_string_value(json_object_get(charge, "dispute"))));
	else if (id == NULL || status == NULL)
		settle(call, json_pack("{s:s}", "result", "pending"));
	else if (strcmp(status, "failed") == 0)
		settle(call, json_pack("{s:s, s:s*}", "result", "declined", "error_code",
							   json_string_value(json_object_get(charge, "failure_code"))));
	else if (is_whole(call, charge) ||
			 /* whatever was taken goes back */
			 (captured && json_is_true(json_object_get(call->request, "is_cancelled"))))
		settle(call, json_pack("{s:s, s:s}", "result", "captured", "transaction_id", id));
	else if (captured)
	{
		log_write(LEVEL_ERROR, &call->item->context,
				  "Charge {Charge} at the provider has another amount than was asked for",
				  "Charge", id, NULL);
		settle(call, json_pack("{s:s}", "result", "pending"));
	}
	else if (json_is_true(json_object_get(call->request, "is_cancelled")))
		/* only authorized, and no longer wanted: a refund releases it */
		refund(call, id, on_released);
	else
	{
		call->charge = memory_string(id);
		capture(call);
	}
}

/* Whether the charge took the money that the request asks for. */
static bool
is_whole(const StripeCall *call, const json_t *charge)
{
	const char *currency = json_string_value(json_object_get(charge, "currency"));

	return json_is_true(json_object_get(charge, "captured")) && currency &&
		strcasecmp(currency, text_of(call, "currency")) == 0 &&
		json_equal(json_object_get(charge, "amount"),
				   json_object_get(call->request, "minor_amount"));
}

/* Asks about a refund that was not through yet. */
static void
follow_refund(StripeCall *call, const char *refund_id)
{
	Text		url = {0};

	text_format(&url, "%s/v1/refunds/%s", stripe.base_url, refund_id);
	get(call, url.data, on_refunded);
	text_free(&url);
}

/* A refund that has failed is followed by another one, with a key of its own. */
static void
refund(StripeCall *call, const char *charge, OutDone done)
{
	json_int_t	number = json_integer_value(json_object_get(call->request, "refund_number"));
	Text		form = {0};
	Text		purpose = {0};

	text_add(&purpose, "refund");
	if (number > 1)
		text_format(&purpose, "-%lld", (long long) number);
	add_field(&form, "charge", charge);
	add_field(&form, "metadata[key]", text_of(call, "key"));
	post(call, "/v1/refunds", &form, purpose.data, done);
	text_free(&purpose);
	text_free(&form);
}

static void
on_refunded(void *argument, const OutReply *reply)
{
	StripeCall *call = argument;
	json_t	   *answer;

	if (reply->result != OUT_ANSWERED || reply->status >= 400)
	{
		refuse_refund(call, reply);
		return;
	}
	answer = json_loadb(reply->body, reply->body_length, 0, NULL);
	judge_refund(call, answer);
	json_decref(answer);
}

/* A refund is only made when it has succeeded; until then it may still fail. */
static void
judge_refund(StripeCall *call, const json_t *refund)
{
	const char *id = id_of(refund);
	const char *status = json_string_value(json_object_get(refund, "status"));

	if (id == NULL)
		settle(call, json_pack("{s:s}", "result", "unknown"));
	else if (status && (strcmp(status, "failed") == 0 || strcmp(status, "canceled") == 0))
		settle(call, json_pack("{s:s, s:s*, s:b}", "result", "refund_failed", "error_code",
							   json_string_value(json_object_get(refund, "failure_reason")),
							   "is_retryable", 0));
	else
		settle(call, json_pack("{s:s, s:s}", "result",
							   status && strcmp(status, "succeeded") != 0 ? "refund_pending"
																		  : "refunded",
							   "refund_id", id));
}

/* No refund, which may be because there is one already, or a dispute. */
static void
refuse_refund(StripeCall *call, const OutReply *reply)
{
	json_t	   *answer = json_loadb(reply->body, reply->body_length, 0, NULL);
	const char *code = error_code(answer);

	if (code && strcmp(code, "charge_already_refunded") == 0)
	{
		call->was_refunded = true;
		query(call);
	}
	else if (code && strcmp(code, "charge_disputed") == 0)
		settle(call, json_pack("{s:s}", "result", "disputed"));
	else
		settle_error(call, reply, "refund_failed");
	json_decref(answer);
}

/* The id of a charge's newest refund, or NULL. */
static const char *
refund_of(const json_t *charge)
{
	const json_t *refunds = json_object_get(json_object_get(charge, "refunds"), "data");

	return id_of(json_array_get(refunds, 0));
}

/* Ids become part of what we ask for next, so what could lead elsewhere is none. */
static bool
is_id(const char *text)
{
	for (const char *c = text; *c; c++)
		if (!isalnum((unsigned char) *c) && *c != '_' && *c != '-')
			return false;
	return *text != '\0';
}

/* An object's id, or NULL. */
static const char *
id_of(const json_t *object)
{
	const char *id = json_string_value(json_object_get(object, "id"));

	return id && is_id(id) ? id : NULL;
}

/* An authorization without capture was released: as if there had been none. */
static void
on_released(void *argument, const OutReply *reply)
{
	bool		good = reply->result == OUT_ANSWERED && reply->status < 400;

	settle(argument, json_pack("{s:s}", "result", good ? "not_found" : "pending"));
}

/* purpose keeps the idempotency keys of one step's requests apart. */
static void
post(StripeCall *call, const char *path, const Text *form, const char *purpose, OutDone done)
{
	Text		url = {0};
	Text		key = {0};
	const char *headers[] = {stripe.authorization, "Stripe-Version: 2020-08-27",
	"Content-Type: application/x-www-form-urlencoded", NULL, NULL};
	OutRequest	request = {.method = "POST", .headers = headers, .subject = text_of(call, "key"),
		.context = &call->item->context};

	text_format(&url, "%s%s", stripe.base_url, path);
	text_format(&key, "Idempotency-Key: %s-%s", text_of(call, "key"), purpose);
	headers[3] = key.data;
	request.url = url.data;
	request.body = text_value(form);
	request.body_length = form->length;
	outcall_send(&stripe.target, &request, done, call);
	text_free(&url);
	text_free(&key);
}

static void
get(StripeCall *call, const char *url, OutDone done)
{
	const char *const headers[] = {stripe.authorization, "Stripe-Version: 2020-08-27", NULL};
	OutRequest	request = {.method = "GET", .url = url, .headers = headers,
		.subject = text_of(call, "key"), .context = &call->item->context};

	outcall_send(&stripe.target, &request, done, call);
}

static void
add_field(Text *form, const char *name, const char *value)
{
	text_format(form, "%s%s=", form->length ? "&" : "", name);
	for (const char *c = value; *c; c++)
	{
		if (isalnum((unsigned char) *c) || strchr("-._~", *c))
			text_add_n(form, c, 1);
		else
			text_format(form, "%%%02X", (unsigned) (unsigned char) *c);
	}
}

/* A text of the request, "" if it has none. */
static const char *
text_of(const StripeCall *call, const char *name)
{
	const char *value = json_string_value(json_object_get(call->request, name));

	return value ? value : "";
}

/* Stripe's code of an error, or NULL. */
static const char *
error_code(const json_t *answer)
{
	const json_t *error = json_object_get(answer, "error");
	const char *code = json_string_value(json_object_get(error, "decline_code"));

	return code ? code : json_string_value(json_object_get(error, "code"));
}

static bool
is_passing(const char *code)
{
	for (size_t i = 0; i < lengthof(passing_codes); i++)
		if (strcmp(code, passing_codes[i]) == 0)
			return true;
	return false;
}

/*
 * Whether the request has certainly had no effect and says nothing about the
 * card: it never left, came too fast, with a key of ours that is wrong, or Stripe
 * was not there for anybody.
 */
static bool
not_dealt_with(const OutReply *reply)
{
	return reply->result == OUT_NOT_SENT ||
		(reply->result == OUT_ANSWERED && !reply->doubtful &&
		 (reply->status == 401 || reply->status == 403 || reply->status == 429 ||
		  reply->status == 503));
}

/* Settles a request that was refused or not answered; any other 4xx is a definite no. */
static void
settle_error(StripeCall *call, const OutReply *reply, const char *result)
{
	json_t	   *answer = json_loadb(reply->body, reply->body_length, 0, NULL);
	const char *code = error_code(answer);

	if (reply->status == 401 || reply->status == 403)
		log_write(LEVEL_ERROR, &call->item->context,
				  "The payment provider does not know our key: {Status}; see stripe-secret-key",
				  "Status", reply->status == 401 ? "401" : "403", NULL);
	if (code == NULL)
		code = "invalid_request";
	if (not_dealt_with(reply))
		settle(call, json_pack("{s:s}", "result", "not_sent"));
	else if (reply->result == OUT_UNKNOWN || reply->status >= 500 || reply->status == 409)
		settle(call, json_pack("{s:s}", "result", "unknown"));
	else
		settle(call, json_pack("{s:s, s:s, s:s*, s:b}", "result", result, "error_code", code,
							   "reason",
							   json_string_value(json_object_get(json_object_get(answer, "error"),
																 "message")),
							   "is_retryable", is_passing(code)));
	json_decref(answer);
}

/* Hands the outcome over and frees the call. */
static void
settle(StripeCall *call, json_t *outcome)
{
	char	   *text = json_dumps(outcome, JSON_COMPACT);

	work_settle(call->item, text);
	free(text);
	json_decref(outcome);
	json_decref(call->request);
	free(call->charge);
	free(call);
}
