/*
 * main.c
 *		paymentd: payments, and the intents with the provider.
 *
 * The provider is chosen at the start: the simulated one, or Stripe.
 */
#include <event2/event.h>
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/log.h"
#include "lib/service.h"
#include "lib/simulator.h"
#include "payment/stripe.h"
#include "lib/text.h"
#include "payment/webhook.h"

#define SLOW_MS 1000			/* what the token tok_slow stands for */

extern const char openapi_document[];

static char *provider;
static char *stripe_url;
static char *stripe_secret_key;
static char *webhook_secret;
static long provider_timeout;
static struct event_base *base;

static Option options[] = {
	{"provider", OPTION_STRING, &provider, "simulator", 0, 0, NULL, false, false,
	"who charges: simulator or stripe"},
	{"provider-timeout", OPTION_DURATION, &provider_timeout, "20s", 100, 300000, NULL, false, false,
	"longest time for one call to the provider"},
	{"stripe-url", OPTION_STRING, &stripe_url, "https://api.stripe.com", 0, 0, NULL, false, false,
	"where Stripe's API is"},
	{"stripe-secret-key", OPTION_STRING, &stripe_secret_key, "", 0, 0, NULL, false, true,
	"secret key of the Stripe account"},
	{"webhook-secret", OPTION_STRING, &webhook_secret, "", 0, 0, NULL, false, true,
	"secret that webhooks are signed with; empty: none are taken"},
	{NULL}
};

static bool verify_webhook(HttpCall *call);

static const MessageHandler handlers[] = {
	{"ProcessPayment", "ecommerce_payment.process_payment"},
	{"QueryPaymentStatus", "ecommerce_payment.query_payment_status"},
	{"RefundPayment", "ecommerce_payment.refund_payment"},
	{NULL}
};

static const HttpRoute routes[] = {
	{"GET", "/payments", "ecommerce_payment.list_payments",
	"query:order_id query:after query:limit caller", ACCESS_OWN | ACCESS_OPERATOR},
	{"POST", "/payments/webhook", "ecommerce_payment.take_webhook", "body", ACCESS_PUBLIC,
	.verify = verify_webhook},
	{NULL}
};

static const Duty duties[] = {
	{"forget_keys", "ecommerce_payment.forget_keys", 60000},
	{"forget_webhooks", "ecommerce_payment.forget_webhooks", 3600000},
	{NULL}
};

/* Replies and returns false unless the provider has signed the body. */
static bool
verify_webhook(HttpCall *call)
{
	const char *signature = http_header(call, "Stripe-Signature");

	if (webhook_secret[0] == '\0')
		http_problem(call, 403, "webhooks are not configured here", NULL);
	else if (signature == NULL || !webhook_signature_valid(signature, call->body,
														   call->body_length, webhook_secret,
														   (long) time(NULL)))
		http_problem(call, 401, "the signature is missing, wrong or too old", NULL);
	else
		return true;
	return false;
}

static void
on_slow(evutil_socket_t socket, short what, void *argument)
{
	WorkItem   *item = argument;

	(void) socket;
	(void) what;
	event_free(item->timer);
	item->timer = NULL;
	simulator_call(item);
}

/* The simulated provider; with the token tok_slow it takes its time. */
static void
call_simulator(WorkItem *item)
{
	json_t	   *request = json_loads(item->request, 0, NULL);
	const char *token = json_string_value(json_object_get(request, "token"));
	struct timeval wait = {SLOW_MS / 1000, SLOW_MS % 1000 * 1000};

	if (token && strcmp(token, "tok_slow") == 0 && strcmp(item->operation, "charge") == 0)
	{
		item->timer = evtimer_new(base, on_slow, item);
		evtimer_add(item->timer, &wait);
	}
	else
		simulator_call(item);
	json_decref(request);
}

static void
call_provider(WorkItem *item)
{
	if (strcmp(provider, "stripe") == 0)
		stripe_call(item);
	else
		call_simulator(item);
}

static int
provider_room(void)
{
	return strcmp(provider, "stripe") == 0 ? stripe_room() : INT_MAX;
}

static const char *
provider_state(void)
{
	return strcmp(provider, "stripe") == 0 ? stripe_state() : simulator_state();
}

static bool
start(Runtime *runtime)
{
	base = runtime->base;
	if (strcmp(provider, "stripe") == 0)
		return stripe_start(stripe_url, stripe_secret_key, provider_timeout);
	if (strcmp(provider, "simulator") != 0)
	{
		log_write(LEVEL_FATAL, NULL, "Unknown provider {Provider}", "Provider", provider, NULL);
		return false;
	}
	simulator_start(runtime, "ecommerce_payment.simulate");
	return true;
}

int
main(int argc, char **argv)
{
	static const HealthCheck checks[] = {{"provider", provider_state}, {NULL}};
	static const Service service = {
		.program = "paymentd", .source = "PaymentService", .role = "ecommerce_payment",
		.port = "5003", .endpoint = "payment", .handlers = handlers, .routes = routes,
		.duties = duties, .options = options, .claim = "ecommerce_payment.claim",
		.settle = "ecommerce_payment.settle", .work = call_provider, .room = provider_room,
		.start = start,
		.checks = checks, .openapi = openapi_document
	};

	return service_main(&service, argc, argv);
}
