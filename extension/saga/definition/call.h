/*
 * call.h
 *		Functions that compute what a template cannot.
 */
#ifndef ECOMMERCE_SAGA_DEFINITION_CALL_H
#define ECOMMERCE_SAGA_DEFINITION_CALL_H

#include "saga/definition/definition.h"

extern Tree *call_function(Registration *registration, Document *document);
extern void call_check(const char *signature);
extern void call_register(const Definition *definition, const char *signature);

#endif
