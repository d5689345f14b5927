/*
 * sections.c
 *		Files of settings in sections, like pg_service.conf: where others are, and who we
 *		are there.
 *
 *		[rabbit]
 *		host=rabbit-1,rabbit-2
 *		password=...
 *
 * What a setting is worth is in no log and in no error.
 */
#include "lib/sections.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static bool is_private(FILE *file);
static bool read_lines(FILE *file, const char *name, SectionSetting setting, void *argument,
					   char *error, size_t size);

/* Without the white space around it; changes the text. */
char *
section_trim(char *text)
{
	size_t		length;

	text += strspn(text, " \t\r\n");
	length = strlen(text);
	while (length > 0 && strchr(" \t\r\n", text[length - 1]))
		text[--length] = '\0';
	return text;
}

/* Hands over the settings of a section; false and why if that cannot be. */
bool
section_read(const char *path, const char *name, SectionSetting setting, void *argument,
			 char *error, size_t size)
{
	FILE	   *file = fopen(path, "r");
	bool		good;

	if (file == NULL)
	{
		snprintf(error, size, "cannot read %s: %s", path, strerror(errno));
		return false;
	}
	good = is_private(file);
	if (good)
		good = read_lines(file, name, setting, argument, error, size);
	else
		snprintf(error, size, "%s is not for others to see: chmod 600 it", path);
	fclose(file);
	return good;
}

/* Passwords are in it: nobody else may have access, or root has lent it to a group. */
static bool
is_private(FILE *file)
{
	struct stat status;

	return fstat(fileno(file), &status) == 0 &&
		(status.st_mode & (status.st_uid == 0 ? S_IWGRP | S_IRWXO : S_IRWXG | S_IRWXO)) == 0;
}

static bool
read_lines(FILE *file, const char *name, SectionSetting setting, void *argument, char *error,
		   size_t size)
{
	char		line[2048];
	bool		inside = false;
	bool		found = false;

	while (fgets(line, sizeof(line), file))
	{
		char	   *text = section_trim(line);
		char	   *equals = strchr(text, '=');
		size_t		length = strlen(text);

		if (*text == '\0' || *text == '#')
			continue;
		if (*text == '[' && text[length - 1] == ']')
		{
			inside = length == strlen(name) + 2 && strncmp(text + 1, name, length - 2) == 0;
			found |= inside;
			continue;
		}
		if (!inside)
			continue;
		if (equals)
			*equals = '\0';
		if (equals == NULL || !setting(argument, section_trim(text), section_trim(equals + 1)))
		{
			snprintf(error, size, "\"%.60s\" is no setting of a broker", text);
			return false;
		}
	}
	if (!found)
		snprintf(error, size, "there is no section [%s]", name);
	return found;
}
