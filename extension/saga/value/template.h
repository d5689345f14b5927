/*
 * template.h
 *		JSON with holes: what a transition writes and sends.
 */
#ifndef ECOMMERCE_SAGA_VALUE_TEMPLATE_H
#define ECOMMERCE_SAGA_VALUE_TEMPLATE_H

#include "postgres.h"

#include "datatype/timestamp.h"

#include "saga/value/path.h"

typedef struct Template Template;

extern Template *template_compile(const Tree *json);
extern Template *template_compile_text(const char *text);
extern Tree *template_evaluate(const Template *template, Document *document);
extern Tree *template_patch(const Template *template, Document *document);
extern char *template_text(const Template *template, Document *document);
extern bool template_is_fixed(const Template *template);
extern bool template_mentions(const Template *template, const char *member);

extern TimestampTz time_plus(TimestampTz time, const Interval *interval, const char *what);
extern TimestampTz time_from_tree(const Tree *tree);
extern Tree *time_to_tree(TimestampTz time);

#endif
