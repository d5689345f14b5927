/*
 * portion.h
 *		What of a lane is accepted at once, as parameters.
 */
#ifndef SERVICES_LINK_PORTION_H
#define SERVICES_LINK_PORTION_H

#include "lib/pg.h"
#include "link/lanes.h"

/* Lanes that the target accepts in one transaction. */
#define PORTIONS_MAX 32

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
	char	   *messages;
	char		numbers[3][24];	/* lane, after, upto */
	const char *values[6];		/* parameters of sql_accept */
	int			lengths[6];
} Portion;

typedef struct PortionLimits
{
	int			most;			/* portions */
	long		batch;			/* messages that were asked for of each */
	int			turn;			/* begins with another row each time */
} PortionLimits;

/* What is accepted in one transaction. */
typedef struct Portions
{
	Portion		portion[PORTIONS_MAX];
	int			count;
	bool		full;			/* of some lane as much as may come at once: there is more */
} Portions;

void		portions_fill(Portions *portions, const char *link, const Lanes *lanes,
						  const ReadRow *first, const PortionLimits *limits);
void		portions_clear(Portions *portions);

#endif
