/*
 * source.h
 *		Where messages and events come from.
 */
#ifndef SERVICES_LINK_SOURCE_H
#define SERVICES_LINK_SOURCE_H

char	   *source_conninfo(const char *service);

#endif
