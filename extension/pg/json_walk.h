/*
 * json_walk.h
 *		Going over binary jsonb where it stands, without copying anything.
 */
#ifndef ECOMMERCE_PG_JSON_WALK_H
#define ECOMMERCE_PG_JSON_WALK_H

#include "postgres.h"

#include "utils/jsonb.h"

/* A value inside a jsonb document. */
typedef struct JsonSlice
{
	JEntry		entry;
	char	   *data;
	int			length;
} JsonSlice;

/* Walks the members of an array, or the keys or values of an object. */
typedef struct JsonWalk
{
	JEntry	   *entry;
	char	   *base;
	uint32		offset;
} JsonWalk;

/*
 * Starts at member number first; the values of an object with n members
 * follow its n keys.
 */
static inline void
json_walk(JsonWalk *walk, JsonbContainer *container, int first)
{
	int			count = JsonContainerSize(container);

	if (JsonContainerIsObject(container))
		count *= 2;
	walk->entry = &container->children[first];
	walk->base = (char *) &container->children[count];
	walk->offset = getJsonbOffset(container, first);
}

/*
 * The next member.
 */
static inline void
json_walk_next(JsonWalk *walk, JsonSlice *slice)
{
	uint32		start = walk->offset;
	JEntry		entry = *walk->entry++;

	JBE_ADVANCE_OFFSET(walk->offset, entry);
	slice->entry = entry;
	if (JBE_ISNUMERIC(entry) || JBE_ISCONTAINER(entry))
		start = INTALIGN(start);
	slice->data = walk->base + start;
	slice->length = (int) (walk->offset - start);
}

#endif
