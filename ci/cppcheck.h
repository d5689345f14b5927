/*
 * cppcheck.h
 *		What cppcheck must know of PostgreSQL, whose headers it does not read.
 *
 * An error report does not return; the rest are macros that would not parse.
 */
#define ERROR 21
#define FATAL 22
#define PANIC 23
#define ereport(level, ...) \
	do \
	{ \
		__VA_ARGS__; \
		if ((level) >= ERROR) \
			abort(); \
	} while (0)
#define elog(level, ...) \
	do \
	{ \
		if ((level) >= ERROR) \
			abort(); \
	} while (0)
#define PG_MODULE_MAGIC extern int magic
#define PG_FUNCTION_INFO_V1(name) extern int info_##name
#define pg_attribute_noreturn() __attribute__((noreturn))
#define pg_attribute_printf(f, a)
#define INT64_FORMAT "%ld"
#define UINT64_FORMAT "%lu"
