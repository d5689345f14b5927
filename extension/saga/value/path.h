/*
 * path.h
 *		jsonpath over trees: guards, and the paths inside templates.
 */
#ifndef ECOMMERCE_SAGA_VALUE_PATH_H
#define ECOMMERCE_SAGA_VALUE_PATH_H

#include "postgres.h"

#include "utils/jsonpath.h"

#include "saga/value/tree.h"

/*
 * What guards and templates are evaluated against.  The jsonb form is made when
 * first needed; set it to NULL whenever the root is replaced.
 */
typedef struct Document
{
	Tree	   *root;
	Jsonb	   *jsonb;
	bool		inner;			/* one of many, inside of "$each" */
	int			made;			/* values made by "$each" so far */
} Document;

typedef struct Path
{
	const char *source;
	JsonPath   *compiled;
	bool		on_tree;		/* evaluated on the tree, without PostgreSQL's executor */
	bool		by_member;		/* every $ in it is followed by a member of the document */
} Path;

extern Path *path_compile(const char *source);
extern Tree *path_query(const Path *path, Document *document);
extern Tree *path_value(const Path *path, Document *document);
extern bool path_holds(const Path *path, Document *document);
extern bool path_mentions(const Path *path, const char *member);

#endif
