/*
 * jetstream.c
 *		NATS JetStream as a target: a stream that is the sink's alone.
 *
 * Each message has its place in a header, and says which sequence number must be the
 * stream's last: so of two who publish, one is refused, and with the first message that
 * is not taken none after it is.  Where the stream is, its last message says.
 */
#include "stream/target.h"

#include <nats/nats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/sections.h"
#include "lib/text.h"

#define WAIT_MS 5000
/* Waiting goes on in slices, so that somebody can stop it. */
#define SLICE_MS 1000
#define PUBLISH_SLICES 60
#define PING_MS 5000
#define MAX_SERVERS 16
#define PLACE_HEADER "Ecommerce-Place"

/* What the file of brokers says. */
typedef struct Settings
{
	char		url[512];
	char		user[256];
	char		password[512];
	char		token[512];
	char		creds[512];		/* a file */
	char		cacert[512];	/* a file; with it, or tls=on, connections are encrypted */
	char		tls[8];
} Settings;

typedef struct JetStream
{
	TargetOptions options;
	natsConnection *connection;
	jsCtx	   *context;
	uint64_t	last;			/* sequence number of the stream's last message */
	char		refusal[TARGET_ERROR];	/* the first; under the worker's lock */
} JetStream;

static void *jetstream_open(const TargetOptions *options, Place *place, char *error);
static bool jetstream_publish(void *argument, const Parcel *parcel, char *error);
static void jetstream_close(void *argument);
static bool set(void *argument, const char *name, const char *value);
static bool connect_servers(JetStream *target, Settings *settings, char *error);
static natsStatus take_settings(natsOptions *options, Settings *settings);
static natsStatus set_servers(natsOptions *options, char *urls);
static bool find_stream(JetStream *target, char *error);
static bool read_place(JetStream *target, Place *place, char *error);
static bool send_event(JetStream *target, const json_t *event, const Place *place, uint64_t after,
					   char *error);
static natsStatus add_headers(natsMsg *message, const JetStream *target, const json_t *event,
							  const Place *place, uint64_t after);
static natsStatus add_attributes(natsMsg *message, const json_t *event);
static void add_escaped(Text *text, const char *value, const char *forbidden);
static char *make_subject(const JetStream *target, const json_t *event);
static bool wait_acks(JetStream *target, char *error);
static void on_refusal(jsCtx *context, jsPubAckErr *refusal, void *argument);
static bool good(natsStatus status, const char *what, char *error);

const TargetKind target_jetstream = {
	"jetstream", jetstream_open, jetstream_publish, jetstream_close
};

static void *
jetstream_open(const TargetOptions *options, Place *place, char *error)
{
	JetStream  *target = memory_zero(1, sizeof(*target));
	Settings	settings = {.url = NATS_DEFAULT_URL};

	target->options = *options;
	if (section_read(options->brokers, target_option(options, "broker"), set, &settings, error,
					 TARGET_ERROR) &&
		connect_servers(target, &settings, error) && find_stream(target, error) &&
		read_place(target, place, error))
		return target;
	jetstream_close(target);
	return NULL;
}

static void
jetstream_close(void *argument)
{
	JetStream  *target = argument;

	natsConnection_Close(target->connection);
	jsCtx_Destroy(target->context);
	natsConnection_Destroy(target->connection);
	free(target);
}

static bool
set(void *argument, const char *name, const char *value)
{
	Settings   *settings = argument;
	const struct
	{
		const char *name;
		char	   *target;
		size_t		size;
	}			known[] = {
		{"url", settings->url, sizeof(settings->url)},
		{"user", settings->user, sizeof(settings->user)},
		{"password", settings->password, sizeof(settings->password)},
		{"token", settings->token, sizeof(settings->token)},
		{"creds", settings->creds, sizeof(settings->creds)},
		{"cacert", settings->cacert, sizeof(settings->cacert)},
		{"tls", settings->tls, sizeof(settings->tls)},
	};

	for (size_t i = 0; i < lengthof(known); i++)
		if (strcmp(known[i].name, name) == 0)
		{
			copy_string(known[i].target, known[i].size, value);
			return true;
		}
	return false;
}

/* A connection that is lost is not made again: the place has to be read anew. */
static bool
connect_servers(JetStream *target, Settings *settings, char *error)
{
	natsOptions *options = NULL;
	jsOptions	own;
	natsStatus	status = natsOptions_Create(&options);

	if (status == NATS_OK)
		status = take_settings(options, settings);
	if (status == NATS_OK)
		status = natsConnection_Connect(&target->connection, options);
	natsOptions_Destroy(options);
	if (status == NATS_OK)
		status = jsOptions_Init(&own);
	if (status == NATS_OK)
	{
		own.Wait = WAIT_MS;
		own.PublishAsync.ErrHandler = on_refusal;
		own.PublishAsync.ErrHandlerClosure = target;
		status = natsConnection_JetStream(&target->context, target->connection, &own);
	}
	return good(status, "cannot connect", error);
}

static natsStatus
take_settings(natsOptions *options, Settings *settings)
{
	natsStatus	status = set_servers(options, settings->url);

	if (status == NATS_OK)
		status = natsOptions_SetAllowReconnect(options, false);
	if (status == NATS_OK)
		status = natsOptions_SetTimeout(options, WAIT_MS);
	if (status == NATS_OK)
		status = natsOptions_SetPingInterval(options, PING_MS);
	if (status == NATS_OK)
		status = natsOptions_SetName(options, "streamd");
	if (status == NATS_OK && settings->user[0])
		status = natsOptions_SetUserInfo(options, settings->user, settings->password);
	if (status == NATS_OK && settings->token[0])
		status = natsOptions_SetToken(options, settings->token);
	if (status == NATS_OK && settings->creds[0])
		status = natsOptions_SetUserCredentialsFromFiles(options, settings->creds, NULL);
	if (status == NATS_OK && (settings->cacert[0] || strcmp(settings->tls, "on") == 0))
		status = natsOptions_SetSecure(options, true);
	if (status == NATS_OK && settings->cacert[0])
		status = natsOptions_LoadCATrustedCertificates(options, settings->cacert);
	return status;
}

static natsStatus
set_servers(natsOptions *options, char *urls)
{
	const char *servers[MAX_SERVERS];
	int			count = 0;
	char	   *url;

	while (count < MAX_SERVERS && (url = strsep(&urls, ",")) != NULL)
		servers[count++] = section_trim(url);
	return natsOptions_SetServers(options, servers, count);
}

/* Makes it if it is missing. */
static bool
find_stream(JetStream *target, char *error)
{
	const char *name = target_option(&target->options, "stream");
	char		subject[256];
	const char *subjects[] = {subject};
	jsStreamInfo *info = NULL;
	jsStreamConfig config;
	jsErrCode	code = 0;
	natsStatus	status = js_GetStreamInfo(&info, target->context, name, NULL, &code);

	if (status == NATS_NOT_FOUND)
	{
		snprintf(subject, sizeof(subject), "%s.>", target_option(&target->options, "subject"));
		jsStreamConfig_Init(&config);
		config.Name = name;
		config.Subjects = subjects;
		config.SubjectsLen = 1;
		status = js_AddStream(&info, target->context, &config, NULL, &code);
	}
	if (status == NATS_OK)
		target->last = info->State.LastSeq;
	jsStreamInfo_Destroy(info);
	return good(status, "the stream can neither be found nor made", error);
}

static bool
read_place(JetStream *target, Place *place, char *error)
{
	natsMsg    *message = NULL;
	const char *text = NULL;
	jsErrCode	code = 0;
	natsStatus	status;
	bool		found;

	if (target->last == 0)
		return true;
	status = js_GetMsg(&message, target->context, target_option(&target->options, "stream"),
					   target->last, NULL, &code);
	/* Whoever has removed it has removed the place: it is not known. */
	if (status == NATS_NOT_FOUND)
		return true;
	if (!good(status, "the stream's last message cannot be read", error))
		return false;
	if (natsMsgHeader_Get(message, PLACE_HEADER, &text) != NATS_OK)
		text = "";
	found = place_parse(place, target->options.sink, text, strlen(text), error, TARGET_ERROR);
	natsMsg_Destroy(message);
	return found;
}

static bool
jetstream_publish(void *argument, const Parcel *parcel, char *error)
{
	JetStream  *target = argument;
	size_t		i;
	json_t	   *event;

	target->refusal[0] = '\0';
	json_array_foreach(parcel->events, i, event)
	{
		Place		place = parcel->place;

		if (i + 1 < json_array_size(parcel->events))
			place.position = event_position(event);
		if (!send_event(target, event, &place, target->last + i, error))
			return false;
	}
	target->last += i;
	return wait_acks(target, error);
}

/* Sends an event that is to follow a sequence number. */
static bool
send_event(JetStream *target, const json_t *event, const Place *place, uint64_t after, char *error)
{
	const char *body = event_text(event, "body");
	char	   *subject = make_subject(target, event);
	natsMsg    *message = NULL;
	natsStatus	status = natsMsg_Create(&message, subject, NULL, body, (int) strlen(body));

	if (status == NATS_OK)
		status = add_headers(message, target, event, place, after);
	if (status == NATS_OK)
		status = js_PublishMsgAsync(target->context, &message, NULL);
	natsMsg_Destroy(message);
	free(subject);
	return good(status, "cannot publish", error);
}

static natsStatus
add_headers(natsMsg *message, const JetStream *target, const json_t *event, const Place *place,
			uint64_t after)
{
	char	   *where = place_text(place, target->options.sink);
	char		number[24];
	char		id[200];
	natsStatus	status = natsMsgHeader_Set(message, PLACE_HEADER, where);

	free(where);
	snprintf(number, sizeof(number), "%llu", (unsigned long long) after);
	snprintf(id, sizeof(id), "%s-%lld-%lld", target->options.sink, place->generation,
			 event_position(event));
	if (status == NATS_OK)
		status = natsMsgHeader_Set(message, "Nats-Expected-Stream",
								   target_option(&target->options, "stream"));
	if (status == NATS_OK)
		status = natsMsgHeader_Set(message, "Nats-Expected-Last-Sequence", number);
	if (status == NATS_OK)
		status = natsMsgHeader_Set(message, "Nats-Msg-Id", id);
	return status == NATS_OK ? add_attributes(message, event) : status;
}

/* A CloudEvent in binary mode. */
static natsStatus
add_attributes(natsMsg *message, const json_t *event)
{
	natsStatus	status = natsMsgHeader_Set(message, "content-type", "application/json");
	Text		value = {0};
	const char *name;
	json_t	   *attribute;

	json_object_foreach(json_object_get(event, "attributes"), name, attribute)
	{
		char		key[64];

		snprintf(key, sizeof(key), "ce-%s", name);
		text_reset(&value);
		add_escaped(&value, json_string_value(attribute), "\"");
		if (status == NATS_OK)
			status = natsMsgHeader_Set(message, key, text_value(&value));
	}
	text_free(&value);
	return status;
}

/* With what cannot be in a header or a subject as %XX. */
static void
add_escaped(Text *text, const char *value, const char *forbidden)
{
	for (const char *c = value; *c; c++)
	{
		unsigned char byte = (unsigned char) *c;

		if (byte <= ' ' || byte >= 0x7f || byte == '%' || strchr(forbidden, byte))
			text_format(text, "%%%02X", byte);
		else
			text_add_n(text, c, 1);
	}
}

/* SUBJECT.CATEGORY.TYPE; the caller's. */
static char *
make_subject(const JetStream *target, const json_t *event)
{
	Text		subject = {0};

	text_add(&subject, target_option(&target->options, "subject"));
	text_add(&subject, ".");
	add_escaped(&subject, event_text(event, "category"), ".*>");
	text_add(&subject, ".");
	add_escaped(&subject, event_text(event, "type"), ".*>");
	return text_take(&subject);
}

/* Until the stream has all of them, or has refused one. */
static bool
wait_acks(JetStream *target, char *error)
{
	jsPubOptions wait;
	natsStatus	status = jsPubOptions_Init(&wait);
	bool		refused;

	wait.MaxWait = SLICE_MS;
	for (int i = 0; i < PUBLISH_SLICES && !worker_stopping(target->options.worker); i++)
	{
		status = js_PublishAsyncComplete(target->context, &wait);
		if (status != NATS_TIMEOUT || natsConnection_IsClosed(target->connection))
			break;
	}
	worker_lock(target->options.worker);
	refused = target->refusal[0] != '\0';
	if (refused)
		copy_string(error, TARGET_ERROR, target->refusal);
	worker_unlock(target->options.worker);
	return !refused && good(status, "the stream does not confirm", error);
}

/* In a thread of the library's. */
static void
on_refusal(jsCtx *context, jsPubAckErr *refusal, void *argument)
{
	JetStream  *target = argument;

	(void) context;
	worker_lock(target->options.worker);
	if (!target->refusal[0])
		snprintf(target->refusal, sizeof(target->refusal), "an event was not taken: %s",
				 refusal->ErrText ? refusal->ErrText : natsStatus_GetText(refusal->Err));
	worker_unlock(target->options.worker);
}

static bool
good(natsStatus status, const char *what, char *error)
{
	natsStatus	last = NATS_OK;
	const char *detail = status != NATS_OK ? nats_GetLastError(&last) : NULL;

	if (status != NATS_OK && detail != NULL && detail[0] && last == status)
		snprintf(error, TARGET_ERROR, "%s: %s, %s", what, natsStatus_GetText(status), detail);
	else if (status != NATS_OK)
		snprintf(error, TARGET_ERROR, "%s: %s", what, natsStatus_GetText(status));
	return status == NATS_OK;
}

/* At the end of the process, when no target is open: threads of the library end too. */
void
jetstream_end(void)
{
	(void) nats_CloseAndWait(WAIT_MS);
}
