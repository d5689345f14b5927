/*
 * login.h
 *		Who is logged in: each with a PostgreSQL role and a connection as that role.
 *
 * The password is checked by the server alone, and so is everything that is
 * asked for afterwards.
 */
#ifndef SERVICES_CONSOLE_LOGIN_H
#define SERVICES_CONSOLE_LOGIN_H

#include "lib/pg.h"
#include "lib/text.h"

typedef struct Login Login;

#define LOGIN_MOST_OTHERS 32

/* A database besides the one that decides who is let in. */
typedef struct OtherDatabase
{
	const char *name;
	const char *conninfo;
} OtherDatabase;

typedef struct LoginOptions
{
	struct event_base *base;
	const char *conninfo;		/* of the server; the role comes from who logs in */
	const OtherDatabase *others;
	int			nothers;
	const char *application;
	const PgStep *setup;		/* of each connection */
	const PgStatement *whoami;	/* a row with one value, kept as login_facts */
	long		idle_ms;		/* nobody asked for anything for that long: logged out */
	long		longest_ms;
	bool		(*server_is_up) (void);	/* so that a refusal is one */
	void		(*ended) (const Login *login);	/* it will be freed */
} LoginOptions;

/* NULL login: not let in, and why. */
typedef void (*LoginDone) (void *argument, Login *login, const char *reason);

void		logins_start(const LoginOptions *options);
void		logins_stop(void);
bool		login_begin(const char *role, const char *password, LoginDone done, void *argument);
Login	   *login_find(const char *token);
Login	   *login_in(Login *login, const char *database);
const char *login_trouble(const Login *login);
void		login_end(Login *login);
bool		login_ended(const Login *login);

const char *login_token(const Login *login);
const char *login_csrf(const Login *login);
const char *login_role(const Login *login);
const char *login_facts(const Login *login);

/* As pool_run: done gets NULL when the server could not be asked. */
bool		login_run(Login *login, const PgStep *steps, int nsteps, long deadline_ms, PgDone done,
					  void *argument);

#endif
