/*
 * relation.h
 *		The extension's own relations, by name, resolved once per backend.
 */
#ifndef ECOMMERCE_PG_RELATION_H
#define ECOMMERCE_PG_RELATION_H

#include "postgres.h"

#include "utils/relcache.h"

/*
 * Define one as a static variable per relation, with schema and name; the rest
 * is filled in.  An index is a relation too.
 */
typedef struct ExtensionRelation
{
	const char *schema;
	const char *name;
	Oid			oid;
	bool		known;
	struct ExtensionRelation *next;
} ExtensionRelation;

extern Oid	extension_relation_oid(ExtensionRelation *relation);
extern char *extension_sql_version(void);
extern Oid	extension_owner(void);
extern void extension_begin_transaction(void);

extern PGDLLIMPORT bool (*extension_is_restored) (void);

#endif
