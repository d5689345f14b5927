/*
 * pg_results.c
 *		What came back from a batch: how it ended, its rows, its error.
 */
#include "lib/pg_results.h"

#include <stdlib.h>

static const char *error_field(const PgResults *results, int field);

bool
pg_succeeded(const PgResults *results)
{
	return !results->lost && results->failed_step < 0;
}

/* Whether the connection broke first: what the batch did is then unknown. */
bool
pg_lost(const PgResults *results)
{
	return results->lost;
}

/* The step that failed, -1 if none did. */
int
pg_failed_step(const PgResults *results)
{
	return results->failed_step;
}

const char *
pg_sqlstate(const PgResults *results)
{
	const char *sqlstate = error_field(results, PG_DIAG_SQLSTATE);

	if (results->lost)
		return "08006";
	return sqlstate ? sqlstate : "XX000";
}

const char *
pg_message(const PgResults *results)
{
	const char *message = error_field(results, PG_DIAG_MESSAGE_PRIMARY);

	if (results->lost)
		return results->reason;
	return message ? message : "unknown error";
}

const char *
pg_detail(const PgResults *results)
{
	return error_field(results, PG_DIAG_MESSAGE_DETAIL);
}

const char *
pg_hint(const PgResults *results)
{
	return error_field(results, PG_DIAG_MESSAGE_HINT);
}

int
pg_rows(const PgResults *results, int step)
{
	return results->results[step] ? PQntuples(results->results[step]) : 0;
}

/* The value as text, or NULL for null. */
const char *
pg_value(const PgResults *results, int step, int row, int column)
{
	const PGresult *result = results->results[step];

	if (result == NULL || PQgetisnull(result, row, column))
		return NULL;
	return PQgetvalue(result, row, column);
}

/* Bytes of the value: what is in binary form may have zeroes. */
int
pg_length(const PgResults *results, int step, int row, int column)
{
	return results->results[step] ? PQgetlength(results->results[step], row, column) : 0;
}

/* Frees what was collected, not the structure. */
void
pg_results_clear(PgResults *results)
{
	for (int i = 0; i < results->nsteps; i++)
		PQclear(results->results[i]);
	PQclear(results->error);
	free(results->results);
}

static const char *
error_field(const PgResults *results, int field)
{
	return results->error ? PQresultErrorField(results->error, field) : NULL;
}
