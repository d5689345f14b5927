/*
 * contract_value.h
 *		Values inside jsonb, where they stand, and their conversion to SQL.
 */
#ifndef ECOMMERCE_EVENT_STORE_CONTRACT_VALUE_H
#define ECOMMERCE_EVENT_STORE_CONTRACT_VALUE_H

#include "postgres.h"

#include "utils/jsonb.h"

#include "event_store/contract_tree.h"

/* A value inside a jsonb document; nothing is copied. */
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

extern void json_walk(JsonWalk *walk, JsonbContainer *container, int first);
extern bool contract_fits(const ContractNode *node, const JsonSlice *value);
extern Datum contract_datum(ContractNode *node, const JsonSlice *value, bool *isnull);
extern char *contract_scalar_text(const JsonSlice *value);

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
