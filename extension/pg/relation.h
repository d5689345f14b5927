/*
 * relation.h
 *		The extension's own relations, by name, resolved once per backend.
 */
#ifndef ECOMMERCE_PG_RELATION_H
#define ECOMMERCE_PG_RELATION_H

#include "postgres.h"

#include "access/tupdesc.h"
#include "storage/lockdefs.h"
#include "utils/relcache.h"

/* A column as C code knows it; types are PostgreSQL's own. */
typedef struct ExtensionColumn
{
	const char *name;
	Oid			type;
	bool		not_null;
} ExtensionColumn;

/*
 * Define one as a static variable per relation, with schema and name, and the
 * columns if it is a table whose rows C code reads or writes; the rest is filled
 * in.  An index is a relation too.
 */
typedef struct ExtensionRelation
{
	const char *schema;
	const char *name;
	const ExtensionColumn *columns;
	int			column_count;
	Oid			oid;
	bool		known;
	bool		fits;			/* has the columns, as far as is known */
	TupleDesc	descriptor;		/* of the columns, for the backend's life */
	struct WriterShape *shape;	/* what pg/writer.c knows of it */
	struct ExtensionRelation *next;
} ExtensionRelation;

/* Attributes that somebody may have added to a row type of ours; they are null. */
#define SPARE_ATTRIBUTES 16

#define EXTENSION_TABLE(schema, name, columns) \
	{ \
		schema, name, columns, lengthof(columns) \
	}

extern Oid	extension_relation_oid(ExtensionRelation *relation);
extern Relation extension_table_open(ExtensionRelation *table, LOCKMODE lockmode);
extern TupleDesc extension_table_descriptor(ExtensionRelation *table);
extern void extension_refuse_policies(Oid relation);
extern void extension_row_check(TupleDesc row, const ExtensionColumn *columns, int count);
extern char *extension_sql_version(void);
extern Oid	extension_owner(void);
extern void extension_begin_transaction(void);

extern PGDLLIMPORT bool (*extension_is_restored) (void);

#endif
