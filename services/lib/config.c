/*
 * config.c
 *		Options of a daemon: flags, environment, file, default, in that order.
 *
 * The file is read with names and values split at "=", "#" starts a comment.
 * All values end in the variables that the option tables point to.
 */
#include "lib/config.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/text.h"

typedef enum Source
{
	SOURCE_DEFAULT, SOURCE_FILE, SOURCE_ENVIRONMENT, SOURCE_FLAG
} Source;

typedef struct Setting
{
	Option	   *option;
	Source		source;
	char	   *text;
} Setting;

static struct
{
	const char *program;
	const OptionGroup *groups;
	int			ngroups;
	Setting    *settings;
	int			nsettings;
	char	   *file;
} config;

static const char *const source_names[] = {"default", "file", "environment", "flag"};

static void collect_settings(void);
static Setting *find_setting(const char *name, size_t length);
static bool apply(Setting *setting, const char *value, Source source);
static void apply_text(Setting *setting, const char *value, Source source);
static bool apply_number(const Option *option, const char *value);
static bool read_flags(int argc, char **argv, bool *print);
static bool read_environment(void);
static bool read_file(bool reloading);
static bool read_line(char *line, int number, bool reloading);
static void print_help(void);
static void print_config(void);
static void variable_name(char *target, size_t size, const char *prefix, const char *option);

/*
 * Fills the options of all groups.  Whatever is wrong has been written to
 * standard error when CONFIG_INVALID comes back.
 */
ConfigOutcome
config_load(const char *program, const char *version, const OptionGroup *groups, int ngroups,
			int argc, char **argv)
{
	bool		print = false;

	config.program = program;
	config.groups = groups;
	config.ngroups = ngroups;
	collect_settings();
	for (int i = 0; i < config.nsettings; i++)
		if (!apply(&config.settings[i], config.settings[i].option->initial, SOURCE_DEFAULT))
			return CONFIG_INVALID;

	for (int i = 1; i < argc; i++)
	{
		if (strcmp(argv[i], "--help") == 0)
		{
			print_help();
			return CONFIG_DONE;
		}
		if (strcmp(argv[i], "--version") == 0)
		{
			printf("%s (ecommerce) %s\n", program, version);
			return CONFIG_DONE;
		}
	}
	/* weakest source last: a value is only taken over a weaker one */
	if (!read_flags(argc, argv, &print) || !read_environment() || !read_file(false))
		return CONFIG_INVALID;
	if (print)
	{
		print_config();
		return CONFIG_DONE;
	}
	return CONFIG_RUN;
}

/*
 * Reads the file again and takes over what may change while running.  On an
 * error nothing that follows the faulty line is taken, and false is returned.
 */
bool
config_reload(void)
{
	return read_file(true);
}

void
config_free(void)
{
	for (int i = 0; i < config.nsettings; i++)
		free(config.settings[i].text);
	free(config.settings);
	free(config.file);
	memset(&config, 0, sizeof(config));
}

/* "250ms", "30s", "5min", "24h"; a bare number is milliseconds. */
bool
config_parse_duration(const char *string, long *milliseconds)
{
	static const struct
	{
		const char *unit;
		long		factor;
	}			units[] = {{"", 1}, {"ms", 1}, {"s", 1000}, {"min", 60000}, {"h", 3600000}};
	char	   *end;
	long		value;

	errno = 0;
	value = strtol(string, &end, 10);
	if (end == string || errno != 0 || value < 0)
		return false;
	while (*end == ' ')
		end++;
	for (size_t i = 0; i < lengthof(units); i++)
		if (strcmp(end, units[i].unit) == 0)
		{
			if (value > LONG_MAX / units[i].factor)
				return false;
			*milliseconds = value * units[i].factor;
			return true;
		}
	return false;
}

static void
collect_settings(void)
{
	int			n = 0;

	for (int g = 0; g < config.ngroups; g++)
		for (const Option *o = config.groups[g].options; o->name; o++)
			n++;
	config.settings = memory_zero((size_t) n, sizeof(Setting));
	config.nsettings = n;
	n = 0;
	for (int g = 0; g < config.ngroups; g++)
		for (Option *o = config.groups[g].options; o->name; o++)
			config.settings[n++].option = o;
}

static Setting *
find_setting(const char *name, size_t length)
{
	for (int i = 0; i < config.nsettings; i++)
	{
		const char *candidate = config.settings[i].option->name;

		if (strlen(candidate) == length && strncmp(candidate, name, length) == 0)
			return &config.settings[i];
	}
	return NULL;
}

/* Takes the value unless a stronger source has given one; false if it is bad. */
static bool
apply(Setting *setting, const char *value, Source source)
{
	const Option *option = setting->option;

	if (source < setting->source)
		return true;
	switch (option->kind)
	{
		case OPTION_STRING:
		case OPTION_LIST:
			break;
		case OPTION_BOOLEAN:
			if (strcmp(value, "on") != 0 && strcmp(value, "off") != 0)
			{
				fprintf(stderr, "%s: \"%s\" is \"on\" or \"off\", not \"%s\"\n", config.program,
						option->name, value);
				return false;
			}
			*(bool *) option->target = strcmp(value, "on") == 0;
			break;
		case OPTION_INTEGER:
		case OPTION_DURATION:
			if (!apply_number(option, value))
				return false;
			break;
	}
	apply_text(setting, value, source);
	if (option->kind == OPTION_STRING || option->kind == OPTION_LIST)
		*(char **) option->target = setting->text;
	setting->source = source;
	return true;
}

/* Keeps the value; one more of a list goes below those of the same source. */
static void
apply_text(Setting *setting, const char *value, Source source)
{
	Text		text = {0};

	if (value == setting->text)
		return;
	if (setting->option->kind == OPTION_LIST && source == setting->source &&
		source != SOURCE_DEFAULT)
		text_format(&text, "%s\n", setting->text);
	text_add(&text, value);
	free(setting->text);
	setting->text = text_take(&text);
}

static bool
apply_number(const Option *option, const char *value)
{
	char	   *end = NULL;
	long		number = 0;
	bool		valid;

	if (option->kind == OPTION_DURATION)
		valid = config_parse_duration(value, &number);
	else
	{
		errno = 0;
		number = strtol(value, &end, 10);
		valid = end != value && *end == '\0' && errno == 0;
	}
	if (!valid)
	{
		fprintf(stderr, "%s: \"%s\" is %s, not \"%s\"\n", config.program, option->name,
				option->kind == OPTION_DURATION ? "a duration such as 250ms, 30s, 5min or 24h"
												: "a whole number",
				value);
		return false;
	}
	if ((option->min != 0 || option->max != 0) && (number < option->min || number > option->max))
	{
		fprintf(stderr, "%s: \"%s\" must be between %ld and %ld, not %ld\n", config.program,
				option->name, option->min, option->max, number);
		return false;
	}
	*(long *) option->target = number;
	return true;
}

/* --name=value, --name value, and for booleans --name alone. */
static bool
read_flags(int argc, char **argv, bool *print)
{
	for (int i = 1; i < argc; i++)
	{
		const char *flag = argv[i];
		const char *value;
		Setting    *setting;

		if (strcmp(flag, "--print-config") == 0)
		{
			*print = true;
			continue;
		}
		if (strncmp(flag, "--", 2) != 0)
		{
			fprintf(stderr, "%s: unexpected argument \"%s\", see --help\n", config.program, flag);
			return false;
		}
		value = strchr(flag, '=');
		setting = NULL;
		if (strncmp(flag, "--config", 8) != 0 || (flag[8] != '\0' && flag[8] != '='))
		{
			setting = find_setting(flag + 2, strcspn(flag + 2, "="));
			if (setting == NULL)
			{
				fprintf(stderr, "%s: unknown option \"%s\", see --help\n", config.program, flag);
				return false;
			}
		}
		if (value)
			value++;
		else if (setting && setting->option->kind == OPTION_BOOLEAN)
			value = "on";
		else if (i + 1 < argc)
			value = argv[++i];
		else
		{
			fprintf(stderr, "%s: option \"%s\" needs a value\n", config.program, flag);
			return false;
		}
		if (setting == NULL)
		{
			free(config.file);
			config.file = memory_string(value);
		}
		else if (!apply(setting, value, SOURCE_FLAG))
			return false;
	}
	return true;
}

static bool
read_environment(void)
{
	for (int i = 0; i < config.nsettings; i++)
	{
		Setting    *setting = &config.settings[i];
		const char *value = NULL;
		char		name[128];

		if (setting->option->variable)
			value = getenv(setting->option->variable);
		if (value == NULL)
		{
			variable_name(name, sizeof(name), config.program, setting->option->name);
			value = getenv(name);
		}
		if (value == NULL)
		{
			variable_name(name, sizeof(name), "ecommerce", setting->option->name);
			value = getenv(name);
		}
		if (value != NULL && !apply(setting, value, SOURCE_ENVIRONMENT))
			return false;
	}
	return true;
}

static bool
read_file(bool reloading)
{
	char	   *line = NULL;
	size_t		size = 0;
	int			number = 0;
	bool		valid = true;
	FILE	   *file;

	if (config.file == NULL)
		return true;
	file = fopen(config.file, "re");
	if (file == NULL)
	{
		fprintf(stderr, "%s: cannot read \"%s\": %s\n", config.program, config.file,
				strerror(errno));
		return false;
	}
	while (valid && getline(&line, &size, file) >= 0)
		valid = read_line(line, ++number, reloading);
	free(line);
	fclose(file);
	return valid;
}

static bool
read_line(char *line, int number, bool reloading)
{
	char	   *name = line + strspn(line, " \t\r\n");
	char	   *value = strchr(name, '=');
	size_t		length;
	Setting    *setting;

	if (*name == '\0' || *name == '#')
		return true;
	if (value == NULL)
	{
		fprintf(stderr, "%s: line %d of \"%s\" is not \"name = value\"\n", config.program, number,
				config.file);
		return false;
	}
	length = (size_t) (value - name);
	while (length > 0 && isspace((unsigned char) name[length - 1]))
		length--;
	value++;
	value += strspn(value, " \t");
	for (size_t end = strlen(value); end > 0 && isspace((unsigned char) value[end - 1]); end--)
		value[end - 1] = '\0';
	setting = find_setting(name, length);
	if (setting == NULL)
	{
		fprintf(stderr, "%s: unknown option \"%.*s\" in line %d of \"%s\"\n", config.program,
				(int) length, name, number, config.file);
		return false;
	}
	if (reloading && !setting->option->reload)
		return true;
	return apply(setting, value, SOURCE_FILE);
}

static void
print_help(void)
{
	printf("Usage: %s [--OPTION=VALUE]...\n\n", config.program);
	for (int g = 0; g < config.ngroups; g++)
	{
		printf("%s:\n", config.groups[g].title);
		for (const Option *o = config.groups[g].options; o->name; o++)
		{
			printf("  --%-22s %s", o->name, o->help);
			if (o->kind == OPTION_LIST)
				printf(" (may be given several times)");
			if (o->initial[0] && !o->secret)
				printf(" (default %s)", o->initial);
			if (o->variable)
				printf(" [%s]", o->variable);
			printf("\n");
		}
		printf("\n");
	}
	printf("Other:\n"
		   "  --config                 file with lines \"name = value\"; SIGHUP reads it again\n"
		   "  --print-config           print what would be used, and where it comes from\n"
		   "  --version                print the version\n"
		   "  --help                   print this\n\n"
		   "Each option is also the variable PROGRAM_NAME or ECOMMERCE_NAME in the environment,\n"
		   "in capitals with _ for -.  The PG* variables and service files of libpq work.\n\n"
		   "Exit status: 0 stopped on request, 64 bad option, 69 a needed port or file cannot\n"
		   "be had, 70 internal error.\n");
}

static void
print_config(void)
{
	for (int i = 0; i < config.nsettings; i++)
	{
		const Setting *setting = &config.settings[i];
		bool		hide = setting->option->secret && setting->text[0];

		printf("%s = %s  # %s\n", setting->option->name, hide ? "(hidden)" : setting->text,
			   source_names[setting->source]);
	}
}

static void
variable_name(char *target, size_t size, const char *prefix, const char *option)
{
	snprintf(target, size, "%s_%s", prefix, option);
	for (char *c = target; *c; c++)
		*c = *c == '-' ? '_' : (char) toupper((unsigned char) *c);
}
