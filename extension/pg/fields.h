/*
 * fields.h
 *		Small JSON objects of named fields, read strictly: policies.
 */
#ifndef ECOMMERCE_PG_FIELDS_H
#define ECOMMERCE_PG_FIELDS_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "utils/jsonb.h"

#include "base/errors.h"

typedef enum FieldType
{
	FIELD_NAME,
	FIELD_COUNT,				/* 0 to FIELD_MAX_COUNT */
	FIELD_INTERVAL,				/* not negative, in microseconds */
	FIELD_INTERVALS				/* a list of them */
} FieldType;

#define FIELD_MAX_COUNT 1000000

typedef struct Field
{
	const char *name;
	FieldType	type;
} Field;

/* Whose object it is: what errors say of it. */
typedef struct FieldsOwner
{
	const char *what;			/* as in "malformed retry policy" */
	int			sqlstate;
	const char *hint;
} FieldsOwner;

typedef struct FieldValue
{
	bool		given;
	char	   *name;
	int64		number;			/* of FIELD_INTERVALS: how many */
	int64	   *list;
} FieldValue;

extern void fields_read(Jsonb *json, const FieldsOwner *owner, const Field *fields, int count,
						FieldValue *values);
extern void fields_check(const FieldsOwner *owner, const Field *fields, int count,
						 const FieldValue *values, const char *const *members);
extern void fields_refuse(const FieldsOwner *owner, const char *detail, const char *name)
	pg_attribute_noreturn();

extern bool interval_parse(const char *text, Interval *interval);

#endif
