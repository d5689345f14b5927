/*
 * arrays.h
 *		Arrays in the form of text that PostgreSQL reads.
 */
#ifndef SERVICES_BRIDGE_ARRAYS_H
#define SERVICES_BRIDGE_ARRAYS_H

#include "lib/text.h"

void		array_begin(Text *array);
void		array_add_number(Text *array, long long number);
void		array_add_text(Text *array, const char *text);
void		array_end(Text *array);

#endif
