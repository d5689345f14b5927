/*
 * document.c
 *		What a JSON document must not be to be stored.
 *
 * Everything that takes a document from outside asks here, once, before it
 * stores anything.  Who reads documents later then knows that he can go down
 * into them by recursion, and that their text is not many times as long as
 * what is stored: 1e131071 takes 8 bytes and is 131072 digits.
 *
 * Goes over the binary jsonb: an append pays one per cent for it.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

#include "pg/document.h"

/*
 * How numeric.c stores numbers of less than 256 digits before the decimal point
 * and less than 64 behind it: the two highest bits of what follows the length.
 */
#define NUMERIC_FORM_MASK 0xC000
#define NUMERIC_FORM_SHORT 0x8000

static DocumentFault container_fault(JsonbContainer *container, int depth);
static bool number_is_too_long(Numeric number);

/*
 * The first thing that is wrong with a document.
 */
DocumentFault
document_fault(const Jsonb *document, int max_size)
{
	if (VARSIZE_ANY_EXHDR(document) > max_size)
		return DOCUMENT_TOO_LARGE;
	return container_fault(unconstify(JsonbContainer *, &document->root), 1);
}

static DocumentFault
container_fault(JsonbContainer *container, int depth)
{
	int			count = JsonContainerSize(container);
	int			first = JsonContainerIsObject(container) ? count : 0;
	const char *values = (const char *) &container->children[first + count];
	uint32		offset = getJsonbOffset(container, first);

	if (depth > DOCUMENT_MAX_DEPTH)
		return DOCUMENT_TOO_DEEP;
	for (int i = first; i < first + count; i++)
	{
		JEntry		entry = container->children[i];
		DocumentFault fault = DOCUMENT_FINE;

		if (JBE_ISCONTAINER(entry))
			fault = container_fault((JsonbContainer *) (values + INTALIGN(offset)), depth + 1);
		else if (JBE_ISNUMERIC(entry) && number_is_too_long((Numeric) (values + INTALIGN(offset))))
			fault = DOCUMENT_NUMBER;
		if (fault != DOCUMENT_FINE)
			return fault;
		JBE_ADVANCE_OFFSET(offset, entry);
	}
	return DOCUMENT_FINE;
}

static bool
number_is_too_long(Numeric number)
{
	static Datum least = (Datum) 0;
	uint16		header;
	Datum		size;

	memcpy(&header, VARDATA_ANY(number), sizeof(header));
	if (likely((header & NUMERIC_FORM_MASK) == NUMERIC_FORM_SHORT))
		return false;
	if (least == (Datum) 0)
	{
		char	   *text = psprintf("1e%d", DOCUMENT_MAX_EXPONENT + 1);
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		least = DirectFunctionCall3(numeric_in, CStringGetDatum(text),
									ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
		MemoryContextSwitchTo(old);
	}
	size = DirectFunctionCall1(numeric_abs, NumericGetDatum(number));
	return DatumGetInt32(DirectFunctionCall1(numeric_scale, size)) > DOCUMENT_MAX_EXPONENT ||
		DatumGetBool(DirectFunctionCall2(numeric_ge, size, least));
}

/*
 * Says what is wrong with a document.
 */
void
document_refuse(DocumentFault fault, const Jsonb *document, const DocumentLimit *limit,
				const char *name)
{
	switch (fault)
	{
		case DOCUMENT_TOO_LARGE:
			ereport(ERROR,
					(errcode(limit->sqlstate),
					 errmsg("%s has %zu bytes, more than %s, %d", name,
							(size_t) VARSIZE_ANY_EXHDR(document), limit->setting, *limit->max_size),
					 errhint("Keep large documents elsewhere and refer to them, or raise %s.",
							 limit->setting)));
			break;
		case DOCUMENT_TOO_DEEP:
			ereport(ERROR,
					(errcode(limit->sqlstate),
					 errmsg("%s is nested more than %d deep", name, DOCUMENT_MAX_DEPTH),
					 errhint("Refer to what lies deep inside by an id.")));
			break;
		case DOCUMENT_NUMBER:
			ereport(ERROR,
					(errcode(limit->sqlstate),
					 errmsg("%s has a number with an exponent over %d", name,
							DOCUMENT_MAX_EXPONENT),
					 errhint("Send such a number as a string.")));
			break;
		case DOCUMENT_FINE:
			break;
	}
	elog(ERROR, "nothing is wrong with %s", name);
}
