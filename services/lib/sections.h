/*
 * sections.h
 *		Files of settings in sections, like pg_service.conf: where others are, and who we
 *		are there.
 */
#ifndef SERVICES_LIB_SECTIONS_H
#define SERVICES_LIB_SECTIONS_H

#include <stdbool.h>
#include <stddef.h>

/* What is done with a setting; false if there is no such one. */
typedef bool (*SectionSetting) (void *argument, const char *name, const char *value);

char	   *section_trim(char *text);
bool		section_read(const char *path, const char *name, SectionSetting setting,
						 void *argument, char *error, size_t size);

#endif
