/*
 * publisher.h
 *		Messages to a broker: a batch at a time, until the broker has confirmed it.
 */
#ifndef SERVICES_BRIDGE_PUBLISHER_H
#define SERVICES_BRIDGE_PUBLISHER_H

#include <event2/event.h>
#include <jansson.h>
#include <stdbool.h>

typedef enum ItemOutcome
{
	ITEM_PENDING,				/* not known to have arrived */
	ITEM_CONFIRMED,
	ITEM_REFUSED				/* the broker will not take it, error says why */
} ItemOutcome;

/* A message on its way. */
typedef struct PublishItem
{
	int			lane;
	long long	position;
	json_t	   *envelope;
	ItemOutcome outcome;
	bool		returned;		/* no queue got it */
	unsigned long long tag;		/* of this attempt, 0: not sent */
	char	   *error;
} PublishItem;

typedef struct PublisherOptions
{
	struct event_base *base;
	const char *brokers;		/* file */
	const char *broker;			/* section of it */
	/* trouble: NULL if all is settled */
	void		(*done) (void *argument, const char *trouble);
	void	   *argument;
} PublisherOptions;

typedef struct Publisher Publisher;

Publisher  *publisher_open(const PublisherOptions *options);
void		publisher_publish(Publisher *publisher, PublishItem *items, int count);
void		publisher_close(Publisher *publisher);

#endif
