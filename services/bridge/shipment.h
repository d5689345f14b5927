/*
 * shipment.h
 *		Messages on their way to a broker, and what became of them, as parameters.
 */
#ifndef SERVICES_BRIDGE_SHIPMENT_H
#define SERVICES_BRIDGE_SHIPMENT_H

#include "bridge/publisher.h"
#include "lib/pg.h"
#include "lib/text.h"

typedef struct Shipment
{
	PublishItem *items;
	int			count;
	/* Parameters of sql_settle, but for the first. */
	Text		refused[3];		/* lanes, positions, errors */
	Text		arrived[2];		/* lanes, positions */
	int			nrefused;
} Shipment;

void		shipment_load(Shipment *shipment, const PgResults *results);
void		shipment_settle(Shipment *shipment, bool drop_unroutable);
void		shipment_clear(Shipment *shipment);

#endif
