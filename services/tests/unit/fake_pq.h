/*
 * fake_pq.h
 *		A libpq that follows a script instead of talking to a server.
 *
 * A test lists what statements it expects, with their parameters, and what the
 * server answers to each; anything else that is sent fails the test.  After an
 * error the rest of its batch is skipped, as in a real pipeline.
 */
#ifndef SERVICES_TESTS_FAKE_PQ_H
#define SERVICES_TESTS_FAKE_PQ_H

#include <stdbool.h>
#include <stddef.h>

typedef enum FakeKind
{
	FAKE_END,					/* end of the script */
	FAKE_ROWS,					/* values by row, columns each */
	FAKE_ERROR,					/* sqlstate and message */
	FAKE_LOST,					/* the connection breaks instead of an answer */
	FAKE_SILENT					/* no answer ever */
} FakeKind;

typedef struct FakeStep
{
	const char *sql;			/* how the statement must begin */
	const char *parameters;		/* joined by "|", NULL: not looked at */
	FakeKind	kind;
	int			columns;
	const char *const *values;	/* ended by a NULL row: (const char *) FAKE_STOP */
	const char *sqlstate;
	const char *message;
} FakeStep;

#define FAKE_STOP "\001stop"

#define FAKE_OK(sql, parameters) \
	{ \
		sql, parameters, FAKE_ROWS, 0, NULL, NULL, NULL \
	}

void		fake_script(const FakeStep *steps);
bool		fake_finished(void);
int			fake_position(void);
int			fake_connections(void);
void		fake_refuse_connections(int n);
void		fake_pool(void);
void		fake_break(void);

#endif
