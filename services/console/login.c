/*
 * login.c
 *		Sessions of browsers, each with one connection to PostgreSQL as its role.
 *
 * A connection is made when it is needed and closed when it has had nothing to do
 * for a while, or has become old: then the role proves itself again, so that a
 * password that was changed, a role that has expired or may not log in any more
 * ends the session within minutes.  Where the server does not ask for a password
 * nobody is let in, since anybody would be.
 *
 * A session may have more databases than the one that has let it in: a part for each,
 * with a connection of its own as the same role with the same password, made when it is
 * asked for.  A database that does not let the role in says so to whoever asks for it,
 * and the session goes on elsewhere.
 *
 * Batches of one session in a database run one after the other.  Nothing outlives the process:
 * after a restart of the daemon everybody logs in again.
 */
#include "console/login.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "lib/context.h"

#define TOKEN_BYTES 24
#define TOKEN_LENGTH (2 * TOKEN_BYTES)
#define MOST_LOGINS 500
#define MOST_UNDERWAY 16		/* log-ins that the server is being asked about */
#define MOST_WAITING 64			/* batches of one session */
#define CONNECTION_IDLE_MS 30000
#define CONNECTION_AGE_MS 300000
#define SETUP_DEADLINE_MS 10000
#define SWEEP_S 1

typedef struct Job
{
	struct Job *next;
	const PgStep *steps;
	int			nsteps;
	long		deadline_ms;
	PgDone		done;
	void	   *argument;
} Job;

struct Login
{
	Login	   *next;
	char		token[TOKEN_LENGTH + 1];
	char		csrf[TOKEN_LENGTH + 1];
	char	   *role;
	char	   *password;
	char	   *facts;
	uint64_t	began;
	uint64_t	used;
	PgConnection *connection;	/* NULL: none is needed at the moment */
	uint64_t	connected;
	bool		ready;			/* set up */
	PgStep		setup[2];
	LoginDone	done;			/* until it is known whether he is let in */
	void	   *argument;
	Job		   *first;
	int			waiting;
	Job		   *running;
	bool		ending;			/* freed as soon as nothing of it is on the stack */
	Login	   *whole;			/* of a part */
	int			number;			/* of a part: which of the other databases */
	Login	   *parts[LOGIN_MOST_OTHERS];	/* NULL: not asked for */
	char		trouble[300];	/* why a part has no connection */
};

static struct
{
	LoginOptions options;
	Login	   *first;
	int			count;
	int			underway;
	struct event *sweep;
} logins;

static Login *add_login(const char *role, const char *password);
static void make_token(char *token);
static void connect_now(Login *login);
static void on_connected(void *argument);
static void on_set_up(void *argument, const PgResults *results);
static void on_lost(void *argument, const char *reason);
static void conclude(Login *login, const char *refusal);
static void run_next(Login *login);
static void on_ran(void *argument, const PgResults *results);
static void disconnect(Login *login);
static void give_up_jobs(Login *login);
static void sweep(evutil_socket_t socket, short what, void *argument);
static void release(Login *login);

static const PgEvents login_events = {on_connected, on_lost, NULL};

void
logins_start(const LoginOptions *options)
{
	struct timeval interval = {SWEEP_S, 0};

	logins.options = *options;
	logins.sweep = event_new(options->base, -1, EV_PERSIST, sweep, NULL);
	event_add(logins.sweep, &interval);
}

void
logins_stop(void)
{
	while (logins.first)
	{
		Login	   *login = logins.first;

		logins.first = login->next;
		if (login->done)
			conclude(login, "the console stops");
		if (login->running)
			login->running->done(login->running->argument, NULL);
		give_up_jobs(login);
		disconnect(login);
		release(login);
	}
	if (logins.sweep)
		event_free(logins.sweep);
	memset(&logins, 0, sizeof(logins));
}

/*
 * Asks the server whether the role is let in with that password.  False, and
 * nothing is called, when too many are being asked about or logged in.
 */
bool
login_begin(const char *role, const char *password, LoginDone done, void *argument)
{
	Login	   *login;

	if (logins.underway >= MOST_UNDERWAY || logins.count >= MOST_LOGINS)
		return false;
	login = add_login(role, password);
	login->done = done;
	login->argument = argument;
	make_token(login->token);
	make_token(login->csrf);
	logins.count++;
	logins.underway++;
	connect_now(login);
	return true;
}

static Login *
add_login(const char *role, const char *password)
{
	Login	   *login = memory_zero(1, sizeof(*login));

	login->role = memory_string(role);
	login->password = memory_string(password);
	login->setup[0] = *logins.options.setup;
	login->setup[1].statement = logins.options.whoami;
	login->began = login->used = clock_steady_ms();
	login->next = logins.first;
	logins.first = login;
	return login;
}

/* The session in another database, NULL if there is none of that name. */
Login *
login_in(Login *login, const char *database)
{
	Login	   *part;
	int			i = 0;

	while (i < logins.options.nothers && strcmp(logins.options.others[i].name, database) != 0)
		i++;
	if (i == logins.options.nothers)
		return NULL;
	part = login->parts[i];
	if (part && part->ending)
	{
		/* It has had nothing to do for long, and will be forgotten. */
		part->whole = NULL;
		part = NULL;
	}
	if (part == NULL)
	{
		part = login->parts[i] = add_login(login->role, login->password);
		part->whole = login;
		part->number = i;
	}
	part->used = clock_steady_ms();
	return part;
}

/* Why it could not be asked, NULL: not known. */
const char *
login_trouble(const Login *login)
{
	return login->trouble[0] ? login->trouble : NULL;
}

/* The session of that token, which counts as used; NULL without. */
Login *
login_find(const char *token)
{
	if (token == NULL || strlen(token) != TOKEN_LENGTH)
		return NULL;
	for (Login *login = logins.first; login; login = login->next)
		if (login->done == NULL && !login->ending && login->whole == NULL &&
			CRYPTO_memcmp(login->token, token, TOKEN_LENGTH) == 0)
		{
			login->used = clock_steady_ms();
			return login;
		}
	return NULL;
}

/* What waits is given up; the session is known to nobody from now on. */
void
login_end(Login *login)
{
	if (login->ending)
		return;
	login->ending = true;
	for (int i = 0; i < logins.options.nothers; i++)
		if (login->parts[i])
			login_end(login->parts[i]);
	if (login->whole == NULL && logins.options.ended)
		logins.options.ended(login);
}

/* Whether it is over, because he has logged out or the server lets him in no more. */
bool
login_ended(const Login *login)
{
	return login->ending;
}

const char *
login_token(const Login *login)
{
	return login->token;
}

const char *
login_csrf(const Login *login)
{
	return login->csrf;
}

const char *
login_role(const Login *login)
{
	return login->role;
}

/* What the server said of the role: a JSON object. */
const char *
login_facts(const Login *login)
{
	return login->facts;
}

bool
login_run(Login *login, const PgStep *steps, int nsteps, long deadline_ms, PgDone done,
		  void *argument)
{
	Job		   *job;
	Job		  **last = &login->first;

	if (login->ending || login->waiting >= MOST_WAITING)
		return false;
	job = memory_zero(1, sizeof(*job));
	*job = (Job) {NULL, steps, nsteps, deadline_ms, done, argument};
	while (*last)
		last = &(*last)->next;
	*last = job;
	login->waiting++;
	if (login->connection == NULL)
		connect_now(login);
	else
		run_next(login);
	return true;
}

static void
make_token(char *token)
{
	unsigned char bytes[TOKEN_BYTES];

	if (RAND_bytes(bytes, sizeof(bytes)) != 1)
		abort();
	for (int i = 0; i < TOKEN_BYTES; i++)
		snprintf(token + 2 * i, 3, "%02x", bytes[i]);
}

static void
connect_now(Login *login)
{
	const char *conninfo = login->whole ? logins.options.others[login->number].conninfo
		: logins.options.conninfo;

	login->connection = pg_connect_as(logins.options.base, conninfo, logins.options.application,
									  login->role, login->password, &login_events, login);
}

static void
on_connected(void *argument)
{
	Login	   *login = argument;

	if (!pg_asked_for_password(login->connection))
	{
		on_lost(login, "the server does not ask this role for a password, so the console "
				"cannot know who it is; let pg_hba.conf say scram-sha-256 for it");
		return;
	}
	pg_keep(login->connection);
	login->connected = clock_steady_ms();
	pg_run(login->connection, login->setup, 2, SETUP_DEADLINE_MS, on_set_up, login);
}

static void
on_set_up(void *argument, const PgResults *results)
{
	Login	   *login = argument;

	if (pg_lost(results))
		return;					/* on_lost follows */
	if (!pg_succeeded(results) || pg_rows(results, 1) != 1)
	{
		on_lost(login, pg_succeeded(results) ? "the server does not say who this is"
				: pg_message(results));
		return;
	}
	free(login->facts);
	login->facts = memory_string(pg_value(results, 1, 0, 0));
	login->ready = true;
	login->trouble[0] = '\0';
	if (login->done)
		conclude(login, NULL);
	run_next(login);
}

/* Connecting failed, or the connection broke. */
static void
on_lost(void *argument, const char *reason)
{
	Login	   *login = argument;
	bool		was_ready = login->ready;
	char		copy[300];

	copy_string(copy, sizeof(copy), reason);
	disconnect(login);
	if (login->done)
	{
		conclude(login, copy);
		return;
	}
	if (login->whole)
		copy_string(login->trouble, sizeof(login->trouble), copy);
	else if (!was_ready && logins.options.server_is_up())
		login_end(login);
	give_up_jobs(login);
}

/* Tells who waits for the log-in how it went. */
static void
conclude(Login *login, const char *refusal)
{
	LoginDone	done = login->done;

	login->done = NULL;
	logins.underway--;
	if (refusal)
		login->ending = true;
	done(login->argument, refusal ? NULL : login, refusal);
}

static void
run_next(Login *login)
{
	Job		   *job = login->first;

	if (!login->ready || login->running || job == NULL)
		return;
	login->first = job->next;
	login->waiting--;
	login->running = job;
	if (!pg_run(login->connection, job->steps, job->nsteps, job->deadline_ms, on_ran, login))
	{
		login->running = NULL;
		job->done(job->argument, NULL);
		free(job);
	}
}

static void
on_ran(void *argument, const PgResults *results)
{
	Login	   *login = argument;
	Job		   *job = login->running;

	login->running = NULL;
	login->used = clock_steady_ms();
	job->done(job->argument, results);
	free(job);
	if (!pg_lost(results))
		run_next(login);
}

static void
disconnect(Login *login)
{
	pg_close(login->connection);
	login->connection = NULL;
	login->ready = false;
}

static void
give_up_jobs(Login *login)
{
	while (login->first)
	{
		Job		   *job = login->first;

		login->first = job->next;
		login->waiting--;
		job->done(job->argument, NULL);
		free(job);
	}
}

/* Closes connections that have nothing to do, and forgets sessions that are over. */
static void
sweep(evutil_socket_t socket, short what, void *argument)
{
	uint64_t	now = clock_steady_ms();

	(void) socket;
	(void) what;
	(void) argument;
	for (Login **link = &logins.first; *link;)
	{
		Login	   *login = *link;
		bool		busy = login->running || login->first || login->done;

		if (!login->ending && !busy &&
			(now - login->used > (uint64_t) logins.options.idle_ms ||
			 now - login->began > (uint64_t) logins.options.longest_ms))
			login_end(login);
		if (login->ready && !busy &&
			(login->ending || now - login->used > CONNECTION_IDLE_MS ||
			 now - login->connected > CONNECTION_AGE_MS))
			disconnect(login);
		if (!login->ending || login->running || login->done)
		{
			link = &login->next;
			continue;
		}
		*link = login->next;
		give_up_jobs(login);
		disconnect(login);
		release(login);
	}
}

static void
release(Login *login)
{
	for (int i = 0; i < logins.options.nothers; i++)
		if (login->parts[i])
			login->parts[i]->whole = NULL;
	if (login->whole)
		login->whole->parts[login->number] = NULL;
	logins.count -= login->token[0] ? 1 : 0;
	free(login->running);
	OPENSSL_cleanse(login->password, strlen(login->password));
	free(login->password);
	free(login->role);
	free(login->facts);
	free(login);
}
