/*
 * pg_results.h
 *		What pg.c collects of the answers to a batch.
 */
#ifndef SERVICES_LIB_PG_RESULTS_H
#define SERVICES_LIB_PG_RESULTS_H

#include <libpq-fe.h>

#include "lib/pg.h"

struct EcommerceResults
{
	PGresult  **results;		/* one per step, NULL where none came */
	int			nsteps;
	int			failed_step;	/* -1 if none */
	PGresult   *error;			/* what the failed step answered; owned apart */
	bool		lost;
	char		reason[256];
};

void		pg_results_clear(PgResults *results);

#endif
