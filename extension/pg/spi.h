/*
 * spi.h
 *		The only door to SPI: checked, parameterised, plans saved per backend.
 *
 * Usage:
 *		static SpiStatement find = {
 *			"SELECT checkpoint FROM event_store.subscription_partition WHERE ..." };
 *		spi_begin(SPI_AS_OWNER);
 *		if (spi_run(&find, 2, (Oid[]) {TEXTOID, INT4OID}, values, NULL) == 1)
 *			checkpoint = spi_int64(0, 0, &isnull);
 *		spi_end();
 *
 * Statements must qualify every table, function and type; operators resolve in
 * pg_catalog because spi_begin() pins the search path.
 */
#ifndef ECOMMERCE_PG_SPI_H
#define ECOMMERCE_PG_SPI_H

#include "postgres.h"

#include "executor/spi.h"

typedef struct SpiStatement
{
	const char *sql;
	SPIPlanPtr	plan;
	uint64		checked;		/* as of which change of some relation */
} SpiStatement;

/* A query whose rows come in portions; stays inside spi_begin and spi_end of its own. */
typedef struct SpiCursor SpiCursor;

typedef enum SpiRights
{
	SPI_AS_CALLER,
	SPI_AS_OWNER				/* of the extension: EXECUTE was the check */
} SpiRights;

extern void spi_begin(SpiRights rights);
extern void spi_end(void);
extern uint64 spi_run(SpiStatement *statement, int nargs, const Oid *types,
					  const Datum *values, const char *nulls);
extern uint64 spi_run_latest(SpiStatement *statement, int nargs, const Oid *types,
							 const Datum *values, const char *nulls);
extern uint64 spi_execute(SpiStatement *statement, int nargs, const Oid *types,
						  const Datum *values, const char *nulls);
extern uint64 spi_execute_latest(SpiStatement *statement, int nargs, const Oid *types,
								 const Datum *values, const char *nulls);
extern void spi_command(const char *sql);
extern Datum spi_value(uint64 row, int column, bool *isnull);
extern int64 spi_int64(uint64 row, int column, int64 if_null);
extern int32 spi_int32(uint64 row, int column, int32 if_null);
extern bool spi_bool(uint64 row, int column);
extern char *spi_text(uint64 row, int column, MemoryContext context);
extern SpiCursor *spi_cursor_open(SpiStatement *statement, int nargs, const Oid *types,
								  const Datum *values, const char *nulls, Snapshot snapshot);
extern TupleTableSlot *spi_cursor_next(SpiCursor *cursor);
extern void spi_cursor_close(SpiCursor *cursor);
extern void spi_commit_transaction(void);
extern Datum spi_copy(uint64 row, int column, MemoryContext context, bool *isnull);

#endif
