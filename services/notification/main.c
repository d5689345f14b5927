/*
 * main.c
 *		notificationd: tells customers, by mail or into the log.
 */
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/log.h"
#include "notification/mail.h"
#include "lib/service.h"
#include "lib/text.h"

extern const char openapi_document[];

static char *sink;
static char *smtp_url;
static char *smtp_user;
static char *smtp_password;
static char *mail_from;
static char *mail_domain;
static long smtp_timeout;
static OutTarget smtp;

static Option options[] = {
	{"sink", OPTION_STRING, &sink, "log", 0, 0, NULL, false, false, "log or smtp"},
	{"smtp-url", OPTION_STRING, &smtp_url, "smtp://localhost:25", 0, 0, NULL, false, false,
	"mail server, smtp:// or smtps://"},
	{"smtp-user", OPTION_STRING, &smtp_user, "", 0, 0, NULL, false, false, "its login"},
	{"smtp-password", OPTION_STRING, &smtp_password, "", 0, 0, NULL, false, true, "its password"},
	{"smtp-timeout", OPTION_DURATION, &smtp_timeout, "20s", 100, 300000, NULL, false, false,
	"longest time for one message"},
	{"mail-from", OPTION_STRING, &mail_from, "shop@example.com", 0, 0, NULL, false, false,
	"sender's address"},
	{"mail-domain", OPTION_STRING, &mail_domain, "", 0, 0, NULL, false, false,
	"where customers without an address of their own get mail, as ID@DOMAIN; empty: they get none"},
	{NULL}
};

static const MessageHandler handlers[] = {
	{"SendNotification", "ecommerce_notification.send_notification"},
	{NULL}
};

static const HttpRoute routes[] = {
	{"GET", "/notifications", "ecommerce_notification.list_notifications",
	"query:order_id query:after query:limit caller", ACCESS_OWN | ACCESS_OPERATOR},
	{NULL}
};

static void
settle(WorkItem *item, const char *result, const char *reason)
{
	Text		outcome = {0};

	text_format(&outcome, "{\"result\":\"%s\",\"reason\":", result);
	text_json(&outcome, reason);
	text_add(&outcome, "}");
	work_settle(item, outcome.data);
	text_free(&outcome);
}

static void
on_mailed(void *argument, const OutReply *reply)
{
	WorkItem   *item = argument;

	/*
	 * libcurl calls a refusal by the server an error and keeps its code: 5xx is
	 * for good; without any the server was not there
	 */
	if (reply->result == OUT_ANSWERED)
		settle(item, "sent", NULL);
	else
		settle(item, reply->status >= 500 ? "refused" : reply->status > 0 ? "failed"
																		  : "not_sent",
			   reply->error);
}

static const char *
text_of(const json_t *object, const char *name)
{
	const char *value = json_string_value(json_object_get(object, name));

	return value ? value : "";
}

static void
send_mail(WorkItem *item, const json_t *request)
{
	Text		to = {0};
	Text		id = {0};
	Text		message = {0};
	Mail		mail = {.from = mail_from, .subject = text_of(request, "subject"),
		.html = text_of(request, "body"), .date = (long) time(NULL)};
	OutRequest	call = {.method = "MAIL", .url = smtp_url, .mail_from = mail_from,
		.user = smtp_user[0] ? smtp_user : NULL,
		.password = smtp_password[0] ? smtp_password : NULL,
		.context = &item->context};

	text_add(&to, text_of(request, "email"));
	if (to.length == 0 && mail_domain[0])
		text_format(&to, "%s@%s", text_of(request, "customer_id"), mail_domain);
	/* made of the step key: a mail reader shows a message sent twice once */
	text_format(&id, "%s%s", text_of(request, "key"),
				strchr(mail_from, '@') ? strchr(mail_from, '@') : "@localhost");
	mail.to = text_value(&to);
	mail.message_id = id.data;
	if (to.length == 0)
		settle(item, "refused", "the customer has no mail address");
	else if (mail_address_valid(to.data))
	{
		mail_write(&message, &mail);
		call.mail_to = to.data;
		call.body = message.data;
		call.body_length = message.length;
		outcall_send(&smtp, &call, on_mailed, item);
	}
	else
		settle(item, "refused", "not a mail address");
	text_free(&to);
	text_free(&id);
	text_free(&message);
}

/* Sends one notification by the chosen sink. */
static void
notify(WorkItem *item)
{
	json_t	   *request = json_loads(item->request, 0, NULL);

	if (strcmp(sink, "smtp") == 0)
		send_mail(item, request);
	else
	{
		log_write(LEVEL_INFORMATION, &item->context, "Notification {Template}: {Subject}",
				  "Template", text_of(request, "template"), "Subject", text_of(request, "subject"),
				  "OrderId", text_of(request, "order_id"), NULL);
		settle(item, "sent", NULL);
	}
	json_decref(request);
}

static int
mail_room(void)
{
	return strcmp(sink, "smtp") == 0 ? breaker_room(&smtp.breaker, clock_steady_ms()) : INT_MAX;
}

static const char *
mail_state(void)
{
	return strcmp(sink, "smtp") != 0 || smtp.breaker.state == BREAKER_CLOSED ? "ok"
		: "circuit breaker is open";
}

static bool
start(Runtime *runtime)
{
	(void) runtime;
	outcall_target_init(&smtp, "smtp", smtp_timeout, 0);
	if (strcmp(sink, "smtp") != 0 && strcmp(sink, "log") != 0)
	{
		log_write(LEVEL_FATAL, NULL, "Unknown sink {Sink}", "Sink", sink, NULL);
		return false;
	}
	return true;
}

int
main(int argc, char **argv)
{
	static const HealthCheck checks[] = {{"mail", mail_state}, {NULL}};
	static const Service service = {
		.program = "notificationd", .source = "NotificationService",
		.role = "ecommerce_notification", .port = "5005", .endpoint = "notification",
		.handlers = handlers, .routes = routes, .options = options,
		.claim = "ecommerce_notification.claim", .settle = "ecommerce_notification.settle",
		.work = notify, .room = mail_room,
		.start = start, .checks = checks, .openapi = openapi_document
	};

	return service_main(&service, argc, argv);
}
