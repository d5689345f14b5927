/*
 * config.h
 *		Options of a daemon, as a table: flags, environment, file, default.
 *
 * An option "pool-size" of inventoryd is taken from the first of: the flag
 * --pool-size=N, the variables INVENTORYD_POOL_SIZE and ECOMMERCE_POOL_SIZE (or
 * the one the table names), the line "pool-size = N" of the file given with
 * --config, its default.  SIGHUP reads the file again; only options marked
 * reload may change then.
 */
#ifndef SERVICES_LIB_CONFIG_H
#define SERVICES_LIB_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

typedef enum OptionKind
{
	OPTION_STRING,
	OPTION_LIST,				/* may be given several times: texts, a line each */
	OPTION_INTEGER,
	OPTION_DURATION,			/* milliseconds; written 250ms, 30s, 5min, 24h */
	OPTION_BOOLEAN
} OptionKind;

typedef struct Option
{
	const char *name;
	OptionKind	kind;
	void	   *target;			/* char **, long *, long *, bool * */
	const char *initial;
	long		min;			/* of numbers; 0 and 0 is no limit */
	long		max;
	const char *variable;		/* environment, NULL: made from the name */
	bool		reload;
	bool		secret;			/* never printed */
	const char *help;
} Option;

/* A table of options and a heading for --help; tables end with a NULL name. */
typedef struct OptionGroup
{
	const char *title;
	Option	   *options;
} OptionGroup;

typedef enum ConfigOutcome
{
	CONFIG_RUN,					/* go on and start */
	CONFIG_DONE,				/* --help and the like: exit 0 */
	CONFIG_INVALID				/* said why: exit 64 */
} ConfigOutcome;

ConfigOutcome config_load(const char *program, const char *version,
						  const OptionGroup *groups, int ngroups, int argc, char **argv);
bool		config_reload(void);
bool		config_parse_duration(const char *string, long *milliseconds);
void		config_free(void);

#endif
