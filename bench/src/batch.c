/*
 * batch.c
 *	  Writes transactions of 100 events, each to a new stream, as fast as it can.
 *
 * Usage: batch MODE SECONDS [EVENTS_PER_TRANSACTION [TRANSACTIONS]]
 *	  MODE: copy		COPY of rows into the limit table, text format
 *			copy_binary the same, binary format
 *			copy_lean	COPY into the lean limit table, text format
 *			copy_lean_binary the same, binary format
 *			batch		event_store.append_batch, the array as text
 *			batch_binary the same, the array in binary format
 *			json		event_store.append_json
 * With TRANSACTIONS it stops after as many, whatever the time.
 *
 * Data and metadata are those of the environment variables BENCH_PAYLOAD and
 * BENCH_METADATA.  What the client sends is made once; the stream's name changes, and
 * the last digits of the metadata's correlation id, so that the client's own work is
 * small and equal in all modes.
 */
#define _GNU_SOURCE				/* memmem() */

#include "client.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Where the digits go that make a correlation id. */
#define CORRELATION "CCCCCCCCCCCC"
#define CORRELATION_SIZE 12

/* Room for a stream's name, which is 42 bytes long as order-UUID is. */
#define NAME_SIZE 64

/* A buffer that grows. */
typedef struct Buffer
{
	char	   *data;
	size_t		length;
	size_t		size;
} Buffer;

typedef struct Job
{
	PGconn	   *conn;
	const char *payload;
	char	   *metadata;
	bool		lean;			/* no category */
	int			events;
	/* where the correlation ids are, in the array or in metadata */
	char	  **places;
	int			place_count;
	/* append_batch's and append_json's array, made once */
	Buffer		array;
	Oid			new_event;
} Job;

typedef void (*WriteFunction) (Job *job, const char *stream);

static void
put(Buffer *buffer, const void *bytes, size_t length)
{
	if (buffer->length + length + 1 > buffer->size)
	{
		buffer->size = (buffer->length + length + 1) * 2;
		buffer->data = realloc(buffer->data, buffer->size);
		if (buffer->data == NULL)
			client_die("out of memory");
	}
	memcpy(buffer->data + buffer->length, bytes, length);
	buffer->length += length;
	buffer->data[buffer->length] = '\0';
}

static void
put_text(Buffer *buffer, const char *text)
{
	put(buffer, text, strlen(text));
}

static void
put_int(Buffer *buffer, int32_t value, int bytes)
{
	uint32_t	wide = htonl((uint32_t) value);
	uint16_t	narrow = htons((uint16_t) value);

	if (bytes == 4)
		put(buffer, &wide, 4);
	else
		put(buffer, &narrow, 2);
}

static void
put_int64(Buffer *buffer, int64_t value)
{
	put_int(buffer, (int32_t) (value >> 32), 4);
	put_int(buffer, (int32_t) value, 4);
}

/* Puts text with a backslash before each quote and backslash. */
static void
put_escaped(Buffer *buffer, const char *text, int times)
{
	for (; *text; text++)
	{
		if (*text == '"' || *text == '\\')
			for (int i = 0; i < times; i++)
				put(buffer, "\\", 1);
		put(buffer, text, 1);
	}
}

/* Notes where the correlation ids are in what is sent. */
static void
find_places(Job *job, char *text, size_t length)
{
	const char *at = text;
	const char *end = text + length;

	job->places = malloc(sizeof(char *) * (job->events + 1));
	if (job->places == NULL)
		client_die("out of memory");
	while (job->place_count <= job->events &&
		   (at = memmem(at, end - at, CORRELATION, CORRELATION_SIZE)) != NULL)
	{
		job->places[job->place_count++] = text + (at - text);
		at += CORRELATION_SIZE;
	}
}

/* Gives all events that are sent next another correlation id. */
static void
correlate(Job *job, long number)
{
	char		digits[32];

	snprintf(digits, sizeof(digits), "%012ld", number % 1000000000000L);
	for (int i = 0; i < job->place_count; i++)
		memcpy(job->places[i], digits, CORRELATION_SIZE);
}

/* {"(OrderCreated,\"{\\\"...}\",,,,)",...}: quoted for the row, then for the array. */
static void
make_text_array(Job *job)
{
	Buffer		row = {0};

	put_text(&row, "(OrderCreated,\"");
	put_escaped(&row, job->payload, 1);
	put_text(&row, "\",\"");
	put_escaped(&row, job->metadata, 1);
	put_text(&row, "\",,,)");
	for (int i = 0; i < job->events; i++)
	{
		put_text(&job->array, i == 0 ? "{\"" : ",\"");
		put_escaped(&job->array, row.data, 1);
		put_text(&job->array, "\"");
	}
	put_text(&job->array, "}");
	free(row.data);
}

/* The same as array_send and record_send would write it. */
static void
make_binary_array(Job *job)
{
	static const char *const types[] = {"text", "jsonb", "jsonb", "uuid", "timestamptz", "int4"};
	Oid			oids[6];
	Buffer		row = {0};
	int			payload_length = (int) strlen(job->payload);
	int			metadata_length = (int) strlen(job->metadata);

	for (int i = 0; i < 6; i++)
	{
		char		query[64];
		PGresult   *result;

		snprintf(query, sizeof(query), "SELECT '%s'::regtype::oid", types[i]);
		result = client_query(job->conn, query);
		oids[i] = (Oid) strtoul(PQgetvalue(result, 0, 0), NULL, 10);
		PQclear(result);
	}
	put_int(&row, 6, 4);
	put_int(&row, (int32_t) oids[0], 4);
	put_int(&row, 12, 4);
	put_text(&row, "OrderCreated");
	put_int(&row, (int32_t) oids[1], 4);
	put_int(&row, payload_length + 1, 4);
	put(&row, "\1", 1);
	put_text(&row, job->payload);
	put_int(&row, (int32_t) oids[2], 4);
	put_int(&row, metadata_length + 1, 4);
	put(&row, "\1", 1);
	put_text(&row, job->metadata);
	for (int i = 3; i < 6; i++)
	{
		put_int(&row, (int32_t) oids[i], 4);
		put_int(&row, -1, 4);
	}

	put_int(&job->array, 1, 4);		/* dimensions */
	put_int(&job->array, 0, 4);		/* no nulls */
	put_int(&job->array, (int32_t) job->new_event, 4);
	put_int(&job->array, job->events, 4);
	put_int(&job->array, 1, 4);		/* lower bound */
	for (int i = 0; i < job->events; i++)
	{
		put_int(&job->array, (int32_t) row.length, 4);
		put(&job->array, row.data, row.length);
	}
	free(row.data);
}

static void
make_json(Job *job)
{
	for (int i = 0; i < job->events; i++)
	{
		put_text(&job->array, i == 0 ? "[" : ",");
		put_text(&job->array, "{\"event_type\": \"OrderCreated\", \"data\": ");
		put_text(&job->array, job->payload);
		put_text(&job->array, ", \"metadata\": ");
		put_text(&job->array, job->metadata);
		put_text(&job->array, "}");
	}
	put_text(&job->array, "]");
}

static void
finish_copy(Job *job, const Buffer *rows)
{
	PGresult   *result;

	if (PQputCopyData(job->conn, rows->data, (int) rows->length) != 1 ||
		PQputCopyEnd(job->conn, NULL) != 1)
		client_die("%s", PQerrorMessage(job->conn));
	result = PQgetResult(job->conn);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		client_die("COPY: %s", PQerrorMessage(job->conn));
	PQclear(result);
	while ((result = PQgetResult(job->conn)) != NULL)
		PQclear(result);
}

static void
start_copy(Job *job, const char *format)
{
	char		query[128];
	PGresult   *result;

	snprintf(query, sizeof(query),
			 "COPY event (stream, version, event_type, data, metadata%s) FROM STDIN (FORMAT %s)",
			 job->lean ? "" : ", category", format);
	result = PQexec(job->conn, query);
	if (PQresultStatus(result) != PGRES_COPY_IN)
		client_die("%s", PQerrorMessage(job->conn));
	PQclear(result);
}

static void
write_copy(Job *job, const char *stream)
{
	static Buffer rows;
	char		head[128];

	start_copy(job, "text");
	rows.length = 0;
	for (int i = 1; i <= job->events; i++)
	{
		snprintf(head, sizeof(head), "%s\t%d\tOrderCreated\t", stream, i);
		put_text(&rows, head);
		put_text(&rows, job->payload);
		put_text(&rows, "\t");
		put_text(&rows, job->metadata);
		put_text(&rows, job->lean ? "\n" : "\torder\n");
	}
	finish_copy(job, &rows);
}

static void
write_copy_binary(Job *job, const char *stream)
{
	static Buffer rows;
	int			payload_length = (int) strlen(job->payload);
	int			metadata_length = (int) strlen(job->metadata);

	start_copy(job, "binary");
	rows.length = 0;
	put(&rows, "PGCOPY\n\377\r\n\0", 11);
	put_int(&rows, 0, 4);
	put_int(&rows, 0, 4);
	for (int i = 1; i <= job->events; i++)
	{
		put_int(&rows, job->lean ? 5 : 6, 2);
		put_int(&rows, (int32_t) strlen(stream), 4);
		put_text(&rows, stream);
		put_int(&rows, 8, 4);
		put_int64(&rows, i);
		put_int(&rows, 12, 4);
		put_text(&rows, "OrderCreated");
		put_int(&rows, payload_length + 1, 4);
		put(&rows, "\1", 1);
		put_text(&rows, job->payload);
		put_int(&rows, metadata_length + 1, 4);
		put(&rows, "\1", 1);
		put_text(&rows, job->metadata);
		if (!job->lean)
		{
			put_int(&rows, 5, 4);
			put_text(&rows, "order");
		}
	}
	put_int(&rows, -1, 2);
	finish_copy(job, &rows);
}

/* Runs the prepared append with the stream and the array. */
static void
append(Job *job, const char *stream, int array_format)
{
	const char *values[] = {stream, job->array.data};
	const int	lengths[] = {0, (int) job->array.length};
	const int	formats[] = {0, array_format};
	PGresult   *result = PQexecPrepared(job->conn, "append", 2, values, lengths, formats, 0);

	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		client_die("%s", PQerrorMessage(job->conn));
	PQclear(result);
}

static void
write_text_parameter(Job *job, const char *stream)
{
	append(job, stream, 0);
}

static void
write_binary_parameter(Job *job, const char *stream)
{
	append(job, stream, 1);
}

/* What each mode needs before the first transaction, and what writes one. */
static const struct Mode
{
	const char *name;
	const char *statement;
	void		(*make) (Job *job);
	WriteFunction write;
	bool		lean;
}			modes[] = {
	{"copy", NULL, NULL, write_copy, false},
	{"copy_binary", NULL, NULL, write_copy_binary, false},
	{"copy_lean", NULL, NULL, write_copy, true},
	{"copy_lean_binary", NULL, NULL, write_copy_binary, true},
	{"batch", "SELECT event_store.append_batch($1, 0, $2)", make_text_array,
	 write_text_parameter, false},
	{"batch_binary", "SELECT event_store.append_batch($1, 0, $2)", make_binary_array,
	 write_binary_parameter, false},
	{"json", "SELECT event_store.append_json($1, 0, $2)", make_json, write_text_parameter, false},
};

static void
prepare(Job *job, const struct Mode *mode)
{
	PGresult   *result;

	job->lean = mode->lean;
	if (mode->statement == NULL)
	{
		find_places(job, job->metadata, strlen(job->metadata));
		return;
	}
	result = client_query(job->conn, "SELECT 'event_store.new_event'::regtype::oid");
	job->new_event = (Oid) strtoul(PQgetvalue(result, 0, 0), NULL, 10);
	PQclear(result);
	mode->make(job);
	find_places(job, job->array.data, job->array.length);
	result = PQprepare(job->conn, "append", mode->statement, 0, NULL);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		client_die("%s", PQerrorMessage(job->conn));
	PQclear(result);
}

int
main(int argc, char **argv)
{
	const struct Mode *mode = NULL;
	Job			job = {.events = argc > 3 ? atoi(argv[3]) : 100};
	long		limit = argc > 4 ? atol(argv[4]) : 0;
	long		done = 0;
	double		began;
	double		until;

	for (size_t i = 0; argc > 2 && i < sizeof(modes) / sizeof(modes[0]); i++)
		if (strcmp(argv[1], modes[i].name) == 0)
			mode = &modes[i];
	job.payload = getenv("BENCH_PAYLOAD");
	job.metadata = getenv("BENCH_METADATA");
	if (mode == NULL || job.payload == NULL || job.metadata == NULL)
		client_die("usage: BENCH_PAYLOAD=... BENCH_METADATA=... "
				   "batch MODE SECONDS [EVENTS [TRANSACTIONS]]");
	job.metadata = strdup(job.metadata);
	job.conn = client_connect();
	prepare(&job, mode);

	began = client_now();
	until = began + atof(argv[2]) * 1e6;
	while (limit > 0 ? done < limit : client_now() < until)
	{
		char		stream[NAME_SIZE];

		snprintf(stream, sizeof(stream), "order-%016lx-%08x-%010x",
				 (unsigned long) began * 2654435761UL, (unsigned) getpid(), (unsigned) done);
		correlate(&job, (long) began + done);
		mode->write(&job, stream);
		done++;
	}
	printf("events %ld\n", done * job.events);
	printf("per_s %.1f\n", done * job.events / (client_now() - began) * 1e6);
	PQfinish(job.conn);
	return 0;
}
