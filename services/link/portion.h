/*
 * portion.h
 *		What of a lane is accepted at once, as parameters.
 */
#ifndef SERVICES_LINK_PORTION_H
#define SERVICES_LINK_PORTION_H

#include "lib/pg.h"
#include "link/lanes.h"

/* A row of what sql_read gave. */
typedef struct ReadRow
{
	const PgResults *results;
	int			step;
	int			row;
} ReadRow;

typedef struct Portion
{
	int			lane;
	int			count;
	long long	upto;
	char	   *incarnation;
	char		numbers[3][24];	/* lane, after, upto */
	const char *values[6];		/* parameters of sql_accept */
	int			lengths[6];
} Portion;

void		portion_fill(Portion *portion, const char *link, const Lanes *lanes,
						 const ReadRow *read);

#endif
