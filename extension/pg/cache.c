/*
 * cache.c
 *		Memory of what a process remembers of tables.
 *
 * What somebody has got from a cache stays until his transaction ends, though the
 * cache is begun anew meanwhile.  Where debug points are compiled in, whoever keeps
 * it longer is found out: it is filled with 0x7F when it is freed, and its place is
 * not used again for a while, lest the same be there once more.
 *
 * A crash leaves nothing behind.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"

#include "pg/cache.h"

#ifdef ECOMMERCE_DEBUG_POINTS
/* Places that are kept from being used again. */
#define SPOILT_MAX 1000

typedef struct Spoiling
{
	MemoryContextCallback callback;
	Size		size;
	char	   *object;
} Spoiling;

static void spoil(void *arg);
#endif

/*
 * Begins a cache that takes the place of another one, if *cache is not NULL.  Until
 * the new one is filled the caller must not take it for complete: what he does next
 * may fail.
 */
void
cache_begin(MemoryContext *cache, const char *name)
{
	MemoryContext old = *cache;

	*cache = NULL;
	if (old != NULL)
		MemoryContextSetParent(old, TopTransactionContext);
	*cache = AllocSetContextCreate(CacheMemoryContext, "ecommerce cache",
								   ALLOCSET_DEFAULT_SIZES);
	MemoryContextSetIdentifier(*cache, name);
}

/*
 * Zeroed memory for something that callers are given a pointer to.
 */
void *
cache_alloc0(MemoryContext cache, Size size)
{
#ifdef ECOMMERCE_DEBUG_POINTS
	Spoiling   *spoiling = MemoryContextAlloc(cache, sizeof(Spoiling));

	spoiling->object = MemoryContextAllocZero(TopMemoryContext, size);
	spoiling->size = size;
	spoiling->callback.func = spoil;
	spoiling->callback.arg = spoiling;
	MemoryContextRegisterResetCallback(cache, &spoiling->callback);
	return spoiling->object;
#else
	return MemoryContextAllocZero(cache, size);
#endif
}

#ifdef ECOMMERCE_DEBUG_POINTS
/*
 * The cache goes.  Called before its own memory is freed.
 */
static void
spoil(void *arg)
{
	static char *spoilt[SPOILT_MAX];
	static int	next = 0;
	Spoiling   *spoiling = arg;

	memset(spoiling->object, 0x7F, spoiling->size);
	if (spoilt[next] != NULL)
		pfree(spoilt[next]);
	spoilt[next] = spoiling->object;
	next = (next + 1) % SPOILT_MAX;
}
#endif
