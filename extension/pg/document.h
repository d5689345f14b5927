/*
 * document.h
 *		What a JSON document must not be to be stored: too large, too deep, or
 *		with numbers that nobody could write down.
 */
#ifndef ECOMMERCE_PG_DOCUMENT_H
#define ECOMMERCE_PG_DOCUMENT_H

#include "postgres.h"

#include "utils/jsonb.h"

#include "base/errors.h"

/* Objects and arrays in each other: far from the end of the stack for who follows them. */
#define DOCUMENT_MAX_DEPTH 1000

/* Digits before or after the decimal point, less one. */
#define DOCUMENT_MAX_EXPONENT 1000

typedef enum DocumentFault
{
	DOCUMENT_FINE,
	DOCUMENT_TOO_LARGE,
	DOCUMENT_TOO_DEEP,
	DOCUMENT_NUMBER
} DocumentFault;

/* What limits a kind of document, and how errors speak of it. */
typedef struct DocumentLimit
{
	const int  *max_size;		/* in bytes */
	const char *setting;		/* that holds max_size */
	int			sqlstate;
} DocumentLimit;

extern DocumentFault document_fault(const Jsonb *document, int max_size);
extern void document_refuse(DocumentFault fault, const Jsonb *document,
							const DocumentLimit *limit, const char *name) pg_attribute_noreturn();

/*
 * Raises an error unless a document can be stored; name is what its sender calls
 * it.
 */
static inline void
document_check(const Jsonb *document, const DocumentLimit *limit, const char *name)
{
	DocumentFault fault = document_fault(document, *limit->max_size);

	if (unlikely(fault != DOCUMENT_FINE))
		document_refuse(fault, document, limit, name);
}

#endif
