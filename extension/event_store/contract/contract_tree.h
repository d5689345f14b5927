/*
 * contract_tree.h
 *		Composite types compiled into trees that JSON is checked against.
 */
#ifndef ECOMMERCE_EVENT_STORE_CONTRACT_CONTRACT_TREE_H
#define ECOMMERCE_EVENT_STORE_CONTRACT_CONTRACT_TREE_H

#include "postgres.h"

#include "fmgr.h"
#include "nodes/execnodes.h"
#include "utils/typcache.h"

typedef enum ContractKind
{
	CONTRACT_COMPOSITE,
	CONTRACT_ARRAY,
	CONTRACT_JSON,				/* json and jsonb take everything */
	CONTRACT_TEXT,				/* unbounded: takes every scalar */
	CONTRACT_NUMERIC,			/* unbounded: takes every JSON number */
	CONTRACT_INTEGER,
	CONTRACT_BOOLEAN,
	CONTRACT_UUID,
	CONTRACT_MOMENT,			/* date, timestamp, timestamptz */
	CONTRACT_OTHER				/* what its input function takes */
} ContractKind;

typedef struct ContractNode ContractNode;

typedef struct ContractField
{
	const char *name;
	int			length;
	int			column;			/* attribute number - 1 */
	ContractNode *node;
} ContractField;

struct ContractNode
{
	ContractKind kind;
	bool		required;		/* of a NOT NULL domain */
	Oid			declared;		/* the type as declared, perhaps a domain */
	Oid			base;			/* without domains */
	int32		typmod;
	DomainConstraintRef *checks;	/* NULL unless the domain has CHECKs */
	bool		foreign;		/* checking it may run code that is not PostgreSQL's own */

	/* CONTRACT_COMPOSITE; fields in the order of keys in jsonb */
	int			field_count;
	ContractField *fields;

	/* CONTRACT_ARRAY */
	ContractNode *element;

	/* everything else */
	FmgrInfo	input;
	Oid			io_param;
	int64		least;			/* CONTRACT_INTEGER */
	int64		greatest;
};

/* What a tree depends on, so that invalidations can be matched. */
typedef struct ContractDependencies
{
	List	   *type_hashes;	/* of syscache TYPEOID, as integers */
	List	   *relations;		/* row types' relations */
} ContractDependencies;

extern ContractNode *contract_compile(Oid type, ContractDependencies *dependencies);
extern Oid	contract_type_owner(Oid type);
extern int	contract_compare_keys(const char *a, int a_length, const char *b, int b_length);

#endif
