/*
 * fake_pq.c
 *		A libpq that follows a script instead of talking to a server.
 *
 * Each connection is a pair of sockets: a byte in the near one wakes the event
 * loop, as bytes of a server would.  Answers are decided when the batch is
 * synchronised, and taken from the connection one by one.
 */
#include "tests/unit/fake_pq.h"

#include <fcntl.h>
#include <libpq-fe.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/api.h"
#include "lib/text.h"

#define MAX_QUEUE 1024
#define BACKEND 4711

struct pg_result
{
	ExecStatusType status;
	const FakeStep *step;
};

typedef struct Sent
{
	bool		is_prepare;
	char	   *sql;
	char	   *parameters;
} Sent;

struct pg_conn
{
	int			sockets[2];
	bool		refused;
	bool		broken;
	char	   *statements[MAX_QUEUE];
	Sent		sent[MAX_QUEUE];
	int			nsent;
	PGresult   *answers[2 * MAX_QUEUE]; /* NULL ends one statement's */
	int			nanswers;
	int			taken;
	bool		in_transaction;
	bool		sync_follows;
};

static struct
{
	const FakeStep *steps;
	int			at;
	int			connections;
	int			to_refuse;
	bool		pooled;
	PGconn	   *last;
} fake;

static void wake(PGconn *conn);
static void answer(PGconn *conn, PGresult *result);
static PGresult *make_result(ExecStatusType status, const FakeStep *step);
static bool answer_statement(PGconn *conn, const Sent *sent, bool *failed);

/* Starts a script; it must stay until it is finished. */
void
fake_script(const FakeStep *steps)
{
	fake.steps = steps;
	fake.at = 0;
	fake.connections = 0;
	fake.to_refuse = 0;
	fake.pooled = false;
}

bool
fake_finished(void)
{
	return fake.steps[fake.at].kind == FAKE_END;
}

int
fake_position(void)
{
	return fake.at;
}

/* Connections begun since the script started. */
int
fake_connections(void)
{
	return fake.connections;
}

void
fake_refuse_connections(int n)
{
	fake.to_refuse = n;
}

/* Connections lead to a pooler, which has no process id of a backend to give. */
void
fake_pool(void)
{
	fake.pooled = true;
}

/* The server goes away. */
void
fake_break(void)
{
	fake.last->broken = true;
	wake(fake.last);
}

PGconn *
PQconnectStartParams(const char *const *keywords, const char *const *values, int expand)
{
	PGconn	   *conn = calloc(1, sizeof(*conn));

	(void) keywords;
	(void) values;
	(void) expand;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, conn->sockets), 0);
	conn->refused = fake.to_refuse > 0 && fake.to_refuse-- > 0;
	fake.connections++;
	fake.last = conn;
	return conn;
}

/* One server, of which nothing is known. */
PQconninfoOption *
PQconninfo(PGconn *conn)
{
	(void) conn;
	return NULL;
}

void
PQconninfoFree(PQconninfoOption *options)
{
	assert_null(options);
}

char *
PQhost(const PGconn *conn)
{
	(void) conn;
	return "";
}

char *
PQport(const PGconn *conn)
{
	(void) conn;
	return "5432";
}

PostgresPollingStatusType
PQconnectPoll(PGconn *conn)
{
	return conn->refused || conn->broken ? PGRES_POLLING_FAILED : PGRES_POLLING_OK;
}

int
PQsocket(const PGconn *conn)
{
	return conn->sockets[0];
}

ConnStatusType
PQstatus(const PGconn *conn)
{
	return conn->broken ? CONNECTION_BAD : CONNECTION_OK;
}

char *
PQerrorMessage(const PGconn *conn)
{
	return conn->refused ? "connection refused\n" : "server closed the connection\n";
}

int
PQbackendPID(const PGconn *conn)
{
	(void) conn;
	return fake.pooled ? 0 : BACKEND;
}

int
PQconnectionUsedPassword(const PGconn *conn)
{
	(void) conn;
	return 0;
}

PGTransactionStatusType
PQtransactionStatus(const PGconn *conn)
{
	return conn->in_transaction ? PQTRANS_INTRANS : PQTRANS_IDLE;
}

int
PQsetnonblocking(PGconn *conn, int on)
{
	(void) conn;
	(void) on;
	return 0;
}

int
PQenterPipelineMode(PGconn *conn)
{
	(void) conn;
	return 1;
}

int
PQsendPrepare(PGconn *conn, const char *name, const char *sql, int nparams, const Oid *types)
{
	(void) nparams;
	(void) types;
	free(conn->statements[atoi(name + 1)]);
	conn->statements[atoi(name + 1)] = strdup(sql);
	conn->sent[conn->nsent++] = (Sent) {true, strdup(sql), NULL};
	return 1;
}

int
PQsendQueryPrepared(PGconn *conn, const char *name, int nparams, const char *const *values,
					const int *lengths, const int *formats, int format)
{
	assert_false(fake.pooled);
	assert_non_null(conn->statements[atoi(name + 1)]);
	return PQsendQueryParams(conn, conn->statements[atoi(name + 1)], nparams, NULL, values,
							 lengths, formats, format);
}

int
PQsendQueryParams(PGconn *conn, const char *sql, int nparams, const Oid *types,
				  const char *const *values, const int *lengths, const int *formats, int format)
{
	Text		joined = {0};

	(void) types;
	(void) lengths;
	(void) formats;
	(void) format;
	for (int i = 0; i < nparams; i++)
		text_format(&joined, "%s%s", i ? "|" : "", values[i] ? values[i] : "null");
	conn->sent[conn->nsent++] = (Sent) {false, strdup(sql), text_take(&joined)};
	return 1;
}

/* Decides the answers to all that was sent. */
int
PQpipelineSync(PGconn *conn)
{
	bool		failed = false;
	bool		going_on = true;

	for (int i = 0; i < conn->nsent; i++)
	{
		if (going_on)
			going_on = answer_statement(conn, &conn->sent[i], &failed);
		free(conn->sent[i].sql);
		free(conn->sent[i].parameters);
	}
	conn->nsent = 0;
	if (going_on)
		answer(conn, make_result(PGRES_PIPELINE_SYNC, NULL));
	if (going_on || conn->broken)
		wake(conn);
	return 1;
}

int
PQflush(PGconn *conn)
{
	(void) conn;
	return 0;
}

int
PQconsumeInput(PGconn *conn)
{
	char		bytes[64];

	while (read(conn->sockets[0], bytes, sizeof(bytes)) > 0)
		;
	return conn->broken ? 0 : 1;
}

int
PQisBusy(PGconn *conn)
{
	return conn->taken >= conn->nanswers;
}

PGresult *
PQgetResult(PGconn *conn)
{
	PGresult   *result = conn->answers[conn->taken++];

	if (conn->taken == conn->nanswers)
		conn->taken = conn->nanswers = 0;
	return result;
}

ExecStatusType
PQresultStatus(const PGresult *result)
{
	return result->status;
}

char *
PQresultErrorField(const PGresult *result, int field)
{
	if (field == PG_DIAG_SQLSTATE)
		return (char *) result->step->sqlstate;
	return field == PG_DIAG_MESSAGE_PRIMARY ? (char *) result->step->message : NULL;
}

int
PQntuples(const PGresult *result)
{
	int			n = 0;

	if (result->step == NULL || result->step->values == NULL)
		return 0;
	while (result->step->values[n] == NULL || strcmp(result->step->values[n], FAKE_STOP) != 0)
		n++;
	return n / result->step->columns;
}

int
PQgetisnull(const PGresult *result, int row, int column)
{
	return result->step->values == NULL ||
		result->step->values[row * result->step->columns + column] == NULL;
}

char *
PQgetvalue(const PGresult *result, int row, int column)
{
	return (char *) result->step->values[row * result->step->columns + column];
}

int
PQgetlength(const PGresult *result, int row, int column)
{
	return (int) strlen(PQgetvalue(result, row, column));
}

void
PQclear(PGresult *result)
{
	free(result);
}

PGnotify *
PQnotifies(PGconn *conn)
{
	(void) conn;
	return NULL;
}

void
PQfreemem(void *memory)
{
	free(memory);
}

void
PQfinish(PGconn *conn)
{
	while (conn->taken < conn->nanswers)
		free(conn->answers[conn->taken++]);
	for (int i = 0; i < MAX_QUEUE; i++)
		free(conn->statements[i]);
	close(conn->sockets[0]);
	close(conn->sockets[1]);
	free(conn);
}

static void
wake(PGconn *conn)
{
	assert_int_equal(write(conn->sockets[1], "x", 1), 1);
}

static void
answer(PGconn *conn, PGresult *result)
{
	conn->answers[conn->nanswers++] = result;
}

static PGresult *
make_result(ExecStatusType status, const FakeStep *step)
{
	PGresult   *result = calloc(1, sizeof(*result));

	result->status = status;
	result->step = step;
	return result;
}

/* Returns false when nothing more comes on this connection. */
static bool
answer_statement(PGconn *conn, const Sent *sent, bool *failed)
{
	static const char *const pid[] = {"4711", FAKE_STOP};
	static const FakeStep backend = {NULL, NULL, FAKE_ROWS, 1, pid, NULL, NULL};
	const FakeStep *step = &fake.steps[fake.at];

	if (strcmp(sent->sql, api_backend.sql) == 0)
	{
		answer(conn, make_result(PGRES_TUPLES_OK, &backend));
		answer(conn, NULL);
		return true;
	}
	if (*failed || sent->is_prepare)
	{
		answer(conn, make_result(*failed ? PGRES_PIPELINE_ABORTED : PGRES_COMMAND_OK, NULL));
		answer(conn, NULL);
		return true;
	}
	if (step->kind == FAKE_END)
		fail_msg("unexpected statement: %s (%s)", sent->sql, sent->parameters);
	if (strncmp(sent->sql, step->sql, strlen(step->sql)) != 0)
		fail_msg("step %d: expected %s, got %s", fake.at, step->sql, sent->sql);
	if (step->parameters && strcmp(step->parameters, sent->parameters) != 0)
		fail_msg("step %d: expected (%s), got (%s)", fake.at, step->parameters, sent->parameters);
	fake.at++;
	if (step->kind == FAKE_LOST || step->kind == FAKE_SILENT)
	{
		conn->broken = step->kind == FAKE_LOST;
		return false;
	}
	*failed = step->kind == FAKE_ERROR;
	if (!*failed && strcmp(sent->sql, api_begin.sql) == 0)
		conn->in_transaction = true;
	else if (strcmp(sent->sql, api_commit.sql) == 0 || strcmp(sent->sql, api_rollback.sql) == 0)
		conn->in_transaction = false;
	answer(conn, make_result(*failed ? PGRES_FATAL_ERROR : PGRES_TUPLES_OK, step));
	answer(conn, NULL);
	return true;
}
