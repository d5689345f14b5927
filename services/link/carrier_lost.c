/*
 * carrier_lost.c
 *		A link whose source has refused a position twice: which lanes it is, and that the
 *		target knows of it.
 */
#include "link/carrier_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "link/statements.h"

static void on_checked(void *argument, const PgResults *results);
static void lose(Carrier *carrier, const PgResults *why);
static void on_losing(void *argument, const PgResults *results);

/* Asks for the next lane whether the source refuses it; after the last begins anew. */
void
carrier_check_next(Carrier *carrier)
{
	char		lane[24];
	char		position[24];
	const char *parameters[4] = {carrier->endpoint, lane, position};
	PgStep		step = {&sql_check, parameters};

	do
		carrier->checked++;
	while (carrier->checked < LANES_MAX && carrier->lanes.lane[carrier->checked].lost);
	if (carrier->checked >= LANES_MAX)
	{
		carrier_load(carrier);
		return;
	}
	snprintf(lane, sizeof(lane), "%d", carrier->checked);
	snprintf(position, sizeof(position), "%lld", carrier->lanes.lane[carrier->checked].position);
	parameters[3] = carrier->lanes.lane[carrier->checked].incarnation;
	carrier->phase = PHASE_CHECKING;
	if (!session_run(carrier->from, &step, 1, DEADLINE_MS, on_checked, carrier))
		carrier_rest(carrier, RETRY_MIN_MS);
}

static void
on_checked(void *argument, const PgResults *results)
{
	Carrier    *carrier = argument;
	const char *state;

	if (!carrier_expected(carrier, PHASE_CHECKING, results))
		return;
	state = pg_succeeded(results) ? "00000" : pg_sqlstate(results);
	if (strcmp(state, "MB008") == 0 || strcmp(state, "MB009") == 0)
		lose(carrier, results);
	else if (strcmp(state, "22023") == 0)
		carrier_load(carrier);			/* there are no more lanes */
	else if (strcmp(state, "00000") == 0)
		carrier_check_next(carrier);
	else
		carrier_retry(carrier, results, "source");
}

/*
 * The source does not have what the target has, or no longer what it has not.  The
 * target notes it, if its lane is where we think; else somebody else was faster.
 */
static void
lose(Carrier *carrier, const PgResults *why)
{
	char		lane[24];
	char		position[24];
	const char *parameters[5] = {carrier->name, lane, position, pg_sqlstate(why)};
	PgStep		step = {&sql_lose, parameters};

	snprintf(lane, sizeof(lane), "%d", carrier->checked);
	snprintf(position, sizeof(position), "%lld", carrier->lanes.lane[carrier->checked].position);
	text_reset(&carrier->loss);
	text_format(&carrier->loss, "%s. %s", pg_message(why), pg_detail(why) ? pg_detail(why) : "");
	parameters[4] = carrier->loss.data;
	carrier->phase = PHASE_LOSING;
	if (!session_run(carrier->to, &step, 1, DEADLINE_MS, on_losing, carrier))
		carrier_rest(carrier, RETRY_MIN_MS);
}

static void
on_losing(void *argument, const PgResults *results)
{
	Carrier    *carrier = argument;

	if (!carrier_expected(carrier, PHASE_LOSING, results))
		return;
	if (!pg_succeeded(results))
	{
		carrier_retry(carrier, results, "target");
		return;
	}
	if (strcmp(pg_value(results, 0, 0, 0), "t") == 0)
		log_write(LEVEL_ERROR, NULL, "Link {Link} is lost: {Error}", "Link", carrier->name,
				  "Error", carrier->loss.data, NULL);
	carrier_check_next(carrier);
}
