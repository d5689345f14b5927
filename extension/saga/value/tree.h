/*
 * tree.h
 *		JSON values as trees in memory, cheap to read, share and change.
 *
 * A tree is built once and then shared: what changes a value returns a new one
 * that shares what stayed.  Only tree_put() and tree_append() write in place;
 * they are for trees that their caller has just made.  Everything lives in the
 * memory context that is current when it is made; strings read from a jsonb
 * point into it.
 */
#ifndef ECOMMERCE_SAGA_VALUE_TREE_H
#define ECOMMERCE_SAGA_VALUE_TREE_H

#include "postgres.h"

#include "utils/jsonb.h"
#include "utils/numeric.h"

typedef enum TreeType
{
	TREE_NULL,
	TREE_BOOL,
	TREE_NUMBER,
	TREE_STRING,
	TREE_ARRAY,
	TREE_OBJECT
} TreeType;

/* Arrays and objects within one another, in what is read and in what is written. */
#define TREE_MAX_DEPTH 1000

typedef struct Tree Tree;

typedef struct TreeMember
{
	const char *key;
	int			length;
	Tree	   *value;
} TreeMember;

struct Tree
{
	TreeType	type;
	int			count;			/* items or members, or bytes of the string */
	int			room;
	union
	{
		bool		boolean;
		Numeric		number;
		const char *string;		/* not terminated */
		Tree	  **items;
		TreeMember *members;	/* in the order of their keys' lengths, then bytes */
	}			as;
};

extern Tree *tree_null(void);
extern Tree *tree_bool(bool value);
extern Tree *tree_int(int64 value);
extern Tree *tree_number(Numeric value);
extern Tree *tree_text(const char *text);
extern Tree *tree_string(const char *bytes, int length);
extern Tree *tree_array(void);
extern Tree *tree_object(void);
extern Tree *tree_append(Tree *array, Tree *item);
extern Tree *tree_put(Tree *object, const char *key, Tree *value);
extern Tree *tree_put_text(Tree *object, const char *key, const char *text);

extern Tree *tree_from_jsonb(Jsonb *jsonb);
extern Jsonb *tree_to_jsonb(const Tree *tree);
extern Tree *tree_copy(const Tree *tree);

extern Tree *tree_get(const Tree *object, const char *key);
extern Tree *tree_get_n(const Tree *object, const char *key, int length);
extern bool tree_is_text(const Tree *tree, const char *text);
extern bool tree_is_true(const Tree *tree);
extern int64 tree_to_int(const Tree *tree, int64 otherwise);
extern char *tree_to_text(const Tree *tree);
extern char *tree_get_text(const Tree *object, const char *key);
extern bool tree_equal(const Tree *a, const Tree *b);
extern int	tree_compare(const Tree *a, const Tree *b);

extern Tree *tree_with(const Tree *object, const char *key, Tree *value);
extern Tree *tree_with_members(const Tree *object, const Tree *members);
extern Tree *tree_without(const Tree *object, const char *key);
extern Tree *tree_with_item(const Tree *array, int index, Tree *item);
extern Tree *tree_with_appended(const Tree *array, Tree *item);
extern Tree *tree_merge(Tree *target, Tree *patch);

#endif
