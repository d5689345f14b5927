/*
 * daemon.h
 *		What the fuzz targets of the daemons share.
 */
#ifndef FUZZ_DAEMON_H
#define FUZZ_DAEMON_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/outcall.h"

#define FUZZ_SEPARATOR "\n--\n"
#define FUZZ_MAX_PARTS 12

/* Gets what a target would send to the outside. */
typedef void (*FuzzOutcall) (const OutRequest *request, OutDone done, void *argument);

extern FuzzOutcall fuzz_outcall;

void		fuzz_stop(const char *what);
int			fuzz_split(char *text, char **parts);
void		fuzz_reply(const char *part, OutReply *reply);

void		fuzz_http_start(void);
void		fuzz_http(const char *data, size_t size);
void		fuzz_provider_start(void);
void		fuzz_provider(const char *data, size_t size);
void		fuzz_telemetry_start(void);
void		fuzz_telemetry(const char *data, size_t size);
void		fuzz_options_start(void);
void		fuzz_options(const char *data, size_t size);

#endif
